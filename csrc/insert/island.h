#pragma once
// Float islands: operators that ATen evaluates, in training, in eval and in the executors alike.

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

namespace qat::insert {

// Note [Canonical islands]
// The same ATen operator on the same values gives other bits for another memory layout (GELU,
// contiguous against channels-last: 64 % of the elements), under autocast, or on another fused
// path. So whoever evaluates an island goes through here: tensor arguments of operators that
// compute are made contiguous, scaled dot product attention takes its composite form, and eval
// runs outside autocast.
//
// All tensor arguments are ordinary tensors.
void call_island(const c10::OperatorHandle& op, torch::jit::Stack& stack, bool allow_autocast);

}  // namespace qat::insert
