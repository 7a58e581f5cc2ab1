#include "ops/autocast/float32.h"

#include <ATen/autocast_mode.h>

namespace qat::ops {
namespace {

constexpr const char* kOperators[] = {
    "fake_quantize",
    "fake_quantize_backward",
    "fake_quantize_with_mask",
    "quantize_with_mask",
    "straight_through",
    "fake_quantize_learned",
    "fake_quantize_learned_backward",
    "quantize",
    "dequantize",
    "observe_minmax_",
    "observe_histogram_",
    "choose_qparams",
    "quantize_weight",
    "quantize_weights",
    "lookup",
    "sum_codes",
    "conv_int",
    "conv_int_backward",
    "linear_int",
    "requantize",
    "batch_statistics",
    "fold_batch_norm",
    "affine_half",
    "bn_act",
    "bn_act_quantize",
    "bn_act_quantize_backward",
};

template <c10::DispatchKey key, c10::DeviceType device>
void widen(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const c10::impl::ExcludeDispatchKeyGuard guard(key);
  const auto& arguments = op.schema().arguments();
  const size_t first = stack->size() - arguments.size();
  for (size_t i = 0; i < arguments.size(); ++i) {
    c10::IValue& value = (*stack)[first + i];
    const auto* alias = arguments[i].alias_info();
    const bool written = alias != nullptr && alias->isWrite();
    if (!value.isTensor() || written) continue;
    value = at::autocast::cached_cast(at::kFloat, value.toTensor(), device);
  }
  op.callBoxed(stack);
}

template <c10::DispatchKey key, c10::DeviceType device>
void register_all(torch::Library& m) {
  for (const char* name : kOperators) {
    m.impl(name, torch::CppFunction::makeFromBoxedFunction<&widen<key, device>>());
  }
}

}  // namespace

void widen_all_cpu(torch::Library& m) {
  register_all<c10::DispatchKey::AutocastCPU, c10::DeviceType::CPU>(m);
}

void widen_all_cuda(torch::Library& m) {
  register_all<c10::DispatchKey::AutocastCUDA, c10::DeviceType::CUDA>(m);
}

}  // namespace qat::ops
