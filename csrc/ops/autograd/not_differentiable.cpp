// Operators without a derivative of their own: integers come out, or the caller writes the graph
// node around them. Without these entries torch would attach a node that warns in backward.

#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/library.h>

namespace qat::ops {
namespace {

void below_autograd(const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                    torch::jit::Stack* stack) {
  const at::AutoDispatchBelowADInplaceOrView guard;
  op.redispatchBoxed(keys & c10::after_ADInplaceOrView_keyset, stack);
}

constexpr const char* kOperators[] = {
    "fake_quantize_backward",
    "fake_quantize_with_mask",
    "quantize_with_mask",
    "straight_through",
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

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, Autograd, m) {
  for (const char* name : kOperators) {
    m.impl(name, torch::CppFunction::makeFromBoxedFunction<&below_autograd>());
  }
}

}  // namespace qat::ops
