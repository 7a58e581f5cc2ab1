#include "insert/mode.h"

#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/library.h>

#include "insert/quantized_tensor.h"

namespace qat::insert {
namespace {

thread_local Handler* current_handler = nullptr;

std::shared_ptr<Handler> recompute_handler(const c10::OperatorHandle& op,
                                           const torch::jit::Stack& stack) {
  const size_t count = op.schema().arguments().size();
  for (size_t i = stack.size() - count; i < stack.size(); ++i) {
    if (!stack[i].isTensor()) continue;
    const Payload* payload = payload_of(stack[i].toTensor());
    if (payload == nullptr) continue;
    if (auto handler = payload->recompute.lock()) return handler;
  }
  return nullptr;
}

void intercept(const c10::OperatorHandle& op, c10::DispatchKeySet, torch::jit::Stack* stack) {
  c10::impl::ExcludeDispatchKeyGuard excluded(kModeKey);
  if (current_handler != nullptr) {
    current_handler->handle(op, *stack);
    return;
  }
  // A recomputed forward (activation checkpointing) runs in backward, outside the mode.
  if (const auto handler = recompute_handler(op, *stack)) {
    ModeGuard guard(handler.get());
    handler->handle(op, *stack);
    return;
  }
  call_on_real_tensors(op, *stack);
}

}  // namespace

ModeGuard::ModeGuard(Handler* handler)
    : previous_(current_handler), was_included_(c10::impl::tls_is_dispatch_key_included(kModeKey)) {
  current_handler = handler;
  c10::impl::tls_set_dispatch_key_included(kModeKey, true);
}

ModeGuard::~ModeGuard() {
  current_handler = previous_;
  c10::impl::tls_set_dispatch_key_included(kModeKey, was_included_);
}

}  // namespace qat::insert

TORCH_LIBRARY_IMPL(_, DeferredInit, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&qat::insert::intercept>());
}
