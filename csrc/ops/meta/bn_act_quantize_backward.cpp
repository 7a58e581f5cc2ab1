#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "ops/chain.h"

namespace qat::ops {
namespace {

ChainGradients bn_act_quantize_backward(
    const at::Tensor& grad, const at::Tensor& acc, const OptionalTensor& multiplier,
    const OptionalTensor& bias, const OptionalTensor& residual,
    const OptionalTensor& residual_scale, const OptionalTensor& residual_zero_point,
    const OptionalTensor& slope, const OptionalTensor& scale, const OptionalTensor& zero_point,
    const OptionalTensor& xhat_multiplier, const OptionalTensor& xhat_bias,
    const OptionalTensor& gain, int64_t axis, int64_t activation, double p0, double p1,
    int64_t quant_min, int64_t quant_max, bool through_statistics, bool residual_grad, bool learned,
    bool clipped_only) {
  const ChainArguments chain{
      "bn_act_quantize_backward", acc,   multiplier, bias,       residual, residual_scale,
      residual_zero_point,        slope, axis,       activation, p0,       p1};
  const BackwardArguments backward{grad,    xhat_multiplier,    xhat_bias,
                                   gain,    through_statistics, residual_grad,
                                   learned, clipped_only};
  check_chain_backward(chain, backward, scale, zero_point, quant_min, quant_max);
  const auto channels = acc.sym_size(axis);
  const auto options = acc.options().dtype(at::kFloat);
  const auto per_channel = [&] { return at::empty_symint({channels}, options); };
  const auto none = [&] { return at::empty({0}, options); };
  const auto of_quantizer = [&] {
    return learned ? at::empty_symint({scale->sym_numel()}, options) : none();
  };
  return {empty_rows_like(acc, axis, at::kFloat),
          residual_grad ? empty_rows_like(acc, axis, at::kFloat) : none(),
          per_channel(),
          per_channel(),
          slope ? per_channel() : none(),
          of_quantizer(),
          of_quantizer()};
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, Meta, m) {
  m.impl("bn_act_quantize_backward", &bn_act_quantize_backward);
}

}  // namespace qat::ops
