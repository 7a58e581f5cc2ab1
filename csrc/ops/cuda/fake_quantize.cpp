#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "ops/check_quantize.h"
#include "ops/cuda/device.h"
#include "ops/cuda/elements.h"
#include "ops/cuda/parameters.h"

namespace qat::ops::cuda {
namespace {

at::Tensor fake_quantize(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& zero_point,
                         int64_t axis, int64_t quant_min, int64_t quant_max) {
  check_fake_quantize("fake_quantize", x, scale, zero_point, axis, quant_min, quant_max);
  const OnDeviceOf device(x);
  auto result = at::empty_like(x, x.options().dtype(at::kFloat));
  const auto real = float_like(x, result);
  Parameters parameters;
  kernels::cuda::fake_quantize(parameters.quantizer(scale, zero_point, quant_min, quant_max),
                               elements_of(result, axis), real.const_data_ptr<float>(),
                               result.mutable_data_ptr<float>(), device.stream());
  return result.to(x.scalar_type());
}

at::Tensor fake_quantize_backward(const at::Tensor& grad, const at::Tensor& x,
                                  const at::Tensor& scale, const at::Tensor& zero_point,
                                  int64_t axis, int64_t quant_min, int64_t quant_max) {
  check_fake_quantize_backward(grad, x, scale, zero_point, axis, quant_min, quant_max);
  const OnDeviceOf device(x);
  auto result = at::empty_like(x, x.options().dtype(at::kFloat));
  const auto real = float_like(x, result);
  const auto gradient = float_like(grad, result);
  Parameters parameters;
  kernels::cuda::fake_quantize_backward(
      parameters.quantizer(scale, zero_point, quant_min, quant_max), elements_of(result, axis),
      gradient.const_data_ptr<float>(), real.const_data_ptr<float>(),
      result.mutable_data_ptr<float>(), device.stream());
  return result.to(x.scalar_type());
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CUDA, m) {
  m.impl("fake_quantize", &fake_quantize);
  m.impl("fake_quantize_backward", &fake_quantize_backward);
}

}  // namespace qat::ops::cuda
