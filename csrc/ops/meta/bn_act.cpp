#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "ops/chain.h"

namespace qat::ops {
namespace {

at::Tensor bn_act(const at::Tensor& acc, const OptionalTensor& multiplier,
                  const OptionalTensor& bias, const OptionalTensor& residual,
                  const OptionalTensor& residual_scale, const OptionalTensor& residual_zero_point,
                  const OptionalTensor& slope, int64_t axis, int64_t activation, double p0,
                  double p1) {
  check_chain({"bn_act", acc, multiplier, bias, residual, residual_scale, residual_zero_point,
               slope, axis, activation, p0, p1});
  return empty_rows_like(acc, axis, at::kFloat);
}

std::tuple<at::Tensor, at::Tensor> bn_act_quantize(
    const at::Tensor& acc, const OptionalTensor& multiplier, const OptionalTensor& bias,
    const OptionalTensor& residual, const OptionalTensor& residual_scale,
    const OptionalTensor& residual_zero_point, const OptionalTensor& slope, const at::Tensor& scale,
    const at::Tensor& zero_point, int64_t axis, int64_t activation, double p0, double p1,
    int64_t quant_min, int64_t quant_max, bool /*observe*/) {
  const ChainArguments chain{
      "bn_act_quantize",   acc,   multiplier, bias,       residual, residual_scale,
      residual_zero_point, slope, axis,       activation, p0,       p1};
  check_chain(chain);
  check_chain_quantizer(chain, {scale, zero_point, quant_min, quant_max});
  return {empty_rows_like(acc, axis, code_type(quant_min)), at::empty({2}, acc.options())};
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, Meta, m) {
  m.impl("bn_act", &bn_act);
  m.impl("bn_act_quantize", &bn_act_quantize);
}

}  // namespace qat::ops
