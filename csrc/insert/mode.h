#pragma once
// The dispatcher mode: every operator that a model's forward calls passes through a handler.
//
// Note [The mode's key]
// LibTorch has no tracer for C++ modules and no way to swap what a typed member's forward calls.
// Autocast shows another way: a functionality key above autograd, switched on for the thread. The
// key is DeferredInit, which core reserves for out-of-tree use and nothing in core claims. Two
// things bring an operator here: the thread-local switch, while a planned forward runs, and a
// QuantizedTensor among the arguments, anywhere and at any time, because its own key set holds the
// key. The second is what makes a quantized tensor safe in hooks, prints and backward code.

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <cstdint>

namespace qat::insert {

constexpr auto kModeKey = c10::DispatchKey::DeferredInit;

class Handler {
 public:
  virtual ~Handler() = default;
  // Evaluates `op` on the arguments at the end of `stack` and leaves its results there. The mode's
  // key is excluded meanwhile, so operators called from here are not seen.
  virtual void handle(const c10::OperatorHandle& op, torch::jit::Stack& stack) = 0;
};

// The handler of this thread, nullptr outside of the mode.
Handler* current_handler();

// Sends this thread's operators to `handler` until destroyed. Guards nest.
class ModeGuard {
 public:
  explicit ModeGuard(Handler* handler);
  ~ModeGuard();
  ModeGuard(const ModeGuard&) = delete;
  ModeGuard& operator=(const ModeGuard&) = delete;

 private:
  Handler* previous_;
  bool was_included_;
};

// Note [Recomputation]: a number of its own for each checkpointed part of a forward and for each
// time it runs again, 0 outside of any.
int64_t current_region();

class RegionGuard {
 public:
  RegionGuard();
  ~RegionGuard();
  RegionGuard(const RegionGuard&) = delete;
  RegionGuard& operator=(const RegionGuard&) = delete;

 private:
  int64_t previous_;
};

}  // namespace qat::insert
