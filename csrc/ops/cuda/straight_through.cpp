#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/empty_strided.h>
#include <torch/library.h>

#include "ops/check_quantize.h"
#include "ops/cuda/device.h"
#include "ops/cuda/elements.h"
#include "ops/cuda/parameters.h"
#include "ops/cuda/reduction.h"

namespace qat::ops::cuda {
namespace {

std::tuple<at::Tensor, at::Tensor> fake_quantize_with_mask(const at::Tensor& x,
                                                           const at::Tensor& scale,
                                                           const at::Tensor& zero_point,
                                                           int64_t axis, int64_t quant_min,
                                                           int64_t quant_max) {
  check_fake_quantize("fake_quantize_with_mask", x, scale, zero_point, axis, quant_min, quant_max);
  const OnDeviceOf device(x);
  auto result = at::empty_like(x, x.options().dtype(at::kFloat)), mask = empty_mask(x);
  const auto real = float_like(x, result);
  Parameters parameters;
  kernels::cuda::fake_quantize_with_mask(
      parameters.quantizer(scale, zero_point, quant_min, quant_max), elements_of(result, axis),
      real.const_data_ptr<float>(), result.mutable_data_ptr<float>(),
      mask.mutable_data_ptr<uint8_t>(), device.stream());
  return {result.to(x.scalar_type()), mask};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> quantize_with_mask(const at::Tensor& x,
                                                                  const at::Tensor& scale,
                                                                  const at::Tensor& zero_point,
                                                                  int64_t axis, int64_t quant_min,
                                                                  int64_t quant_max) {
  check_fake_quantize("quantize_with_mask", x, scale, zero_point, axis, quant_min, quant_max);
  const OnDeviceOf device(x);
  auto codes = at::empty_like(x, x.options().dtype(code_type(quant_min))), mask = empty_mask(x);
  auto range = at::empty({2}, x.options().dtype(at::kFloat));
  const auto real = float_like(x, codes);
  auto keys = empty_keys(kernels::cuda::mask_parts(x.numel()), x.options());
  Parameters parameters;
  kernels::cuda::quantize_with_mask(
      parameters.quantizer(scale, zero_point, quant_min, quant_max), elements_of(codes, axis),
      real.const_data_ptr<float>(),
      {static_cast<uint8_t*>(codes.mutable_data_ptr()), mask.mutable_data_ptr<uint8_t>(),
       keys_of(keys), range.mutable_data_ptr<float>()},
      device.stream());
  return {codes, mask, range};
}

at::Tensor straight_through(const at::Tensor& grad, const at::Tensor& mask,
                            at::IntArrayRef stride) {
  check_straight_through(grad, mask, c10::fromIntArrayRefSlow(stride));
  const OnDeviceOf device(grad);
  auto result = at::empty_strided(grad.sizes(), stride, grad.options().dtype(at::kFloat));
  const auto gradient = float_like(grad, result);
  const auto bits = mask.contiguous();
  kernels::cuda::straight_through(gradient.const_data_ptr<float>(), bits.const_data_ptr<uint8_t>(),
                                  result.mutable_data_ptr<float>(), result.numel(),
                                  device.stream());
  return result.to(grad.scalar_type());
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CUDA, m) {
  m.impl("fake_quantize_with_mask", &fake_quantize_with_mask);
  m.impl("quantize_with_mask", &quantize_with_mask);
  m.impl("straight_through", &straight_through);
}

}  // namespace qat::ops::cuda
