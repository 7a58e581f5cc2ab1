#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include "ops/cuda/chain_view.h"
#include "ops/cuda/device.h"
#include "ops/cuda/reduction.h"

namespace qat::ops::cuda {
namespace {

std::tuple<at::Tensor, at::Tensor> bn_act_quantize(
    const at::Tensor& acc, const OptionalTensor& multiplier, const OptionalTensor& bias,
    const OptionalTensor& residual, const OptionalTensor& residual_scale,
    const OptionalTensor& residual_zero_point, const OptionalTensor& slope, const at::Tensor& scale,
    const at::Tensor& zero_point, int64_t axis, int64_t activation, double p0, double p1,
    int64_t quant_min, int64_t quant_max, bool observe) {
  const ChainArguments arguments{
      "bn_act_quantize",   acc,   multiplier, bias,       residual, residual_scale,
      residual_zero_point, slope, axis,       activation, p0,       p1};
  const QuantizerArguments quantizer{scale, zero_point, quant_min, quant_max};
  check_chain(arguments);
  check_chain_quantizer(arguments, quantizer);
  const OnDeviceOf device(acc);
  auto codes = empty_rows_like(acc, axis, code_type(quant_min));
  auto range = at::zeros({2}, acc.options());
  const ChainView view(arguments, &quantizer);
  // Empty tensors have no parts, and their range stays [0, 0].
  const int64_t parts = observe ? kernels::cuda::range_parts(view.chain()) : 0;
  auto keys = empty_keys(parts, acc.options());
  kernels::cuda::bn_act_quantize(view.chain(), static_cast<uint8_t*>(codes.mutable_data_ptr()),
                                 parts == 0 ? nullptr : keys_of(keys),
                                 range.mutable_data_ptr<float>(), device.stream());
  return {codes, range};
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CUDA, m) { m.impl("bn_act_quantize", &bn_act_quantize); }

}  // namespace qat::ops::cuda
