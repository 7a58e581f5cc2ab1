#pragma once
// Rule 11 of docs/numerics.md: a function of one element as a table over the codes.

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <vector>

#include "insert/quantized_tensor.h"

namespace qat::lower {

// One entry per code from quant_min to quant_min + 2^bits - 1: ATen's value and derivative at the
// code's real value. values, slopes: float32[2^bits].
struct UnaryTable {
  at::Tensor values, slopes;
};

// arguments: the operator's arguments; the first is replaced by the vector of real values.
UnaryTable unary_table(const c10::OperatorHandle& op, std::vector<c10::IValue> arguments,
                       const insert::Codes& input);

// The entries between the smallest and the largest code that the tensor holds.
at::Tensor reachable(const at::Tensor& table, const insert::Codes& input);

}  // namespace qat::lower
