#include "insert/mode.h"

#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/library.h>

#include <atomic>

#include "capture/catalog.h"
#include "error.h"
#include "insert/quantized_tensor.h"
#include "insert/recompute.h"

namespace qat::insert {
namespace {

thread_local Handler* active_handler = nullptr;
thread_local int64_t active_region = 0;

// A layer on the model's own parameters, called on an activation of a planned forward: somebody
// recomputes a part of the forward, which would silently train in float here.
void refuse_layer(const c10::OperatorHandle& op, const torch::jit::Stack& stack) {
  using capture::Kind;
  const Kind kind = capture::classify(op).kind;
  if (kind != Kind::conv && kind != Kind::linear && kind != Kind::batch_norm) return;
  const size_t count = op.schema().arguments().size();
  const ForwardRecord* record = nullptr;
  for (size_t i = stack.size() - count; i < stack.size() && record == nullptr; ++i) {
    if (!stack[i].isTensor()) continue;
    if (const Payload* payload = payload_of(stack[i].toTensor())) record = payload->record.get();
  }
  if (record == nullptr) return;
  for (size_t i = stack.size() - count; i < stack.size(); ++i) {
    if (!stack[i].isTensor()) continue;
    const std::string* name = record->name_of(stack[i].toTensor());
    if (name == nullptr) continue;
    throw Error(op.operator_name().name + " with parameter '" + *name +
                "' was called on a quantized activation outside of the prepared model's forward. "
                "Recompute activations with torch.utils.checkpoint, or call the layer inside the "
                "forward.");
  }
}

void intercept(const c10::OperatorHandle& op, c10::DispatchKeySet, torch::jit::Stack* stack) {
  c10::impl::ExcludeDispatchKeyGuard excluded(kModeKey);
  if (active_handler != nullptr) {
    active_handler->handle(op, *stack);
    return;
  }
  refuse_layer(op, *stack);
  call_on_real_tensors(op, *stack);
}

}  // namespace

Handler* current_handler() { return active_handler; }
int64_t current_region() { return active_region; }

RegionGuard::RegionGuard() : previous_(active_region) {
  static std::atomic<int64_t> latest{0};
  active_region = ++latest;
}

RegionGuard::~RegionGuard() { active_region = previous_; }

ModeGuard::ModeGuard(Handler* handler)
    : previous_(active_handler), was_included_(c10::impl::tls_is_dispatch_key_included(kModeKey)) {
  active_handler = handler;
  c10::impl::tls_set_dispatch_key_included(kModeKey, true);
}

ModeGuard::~ModeGuard() {
  active_handler = previous_;
  c10::impl::tls_set_dispatch_key_included(kModeKey, was_included_);
}

}  // namespace qat::insert

TORCH_LIBRARY_IMPL(_, DeferredInit, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&qat::insert::intercept>());
}
