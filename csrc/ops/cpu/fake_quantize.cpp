#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "ops/check_quantize.h"
#include "ops/cpu/elementwise.h"

namespace qat::ops {
namespace {

at::Tensor fake_quantize(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& zero_point,
                         int64_t axis, int64_t quant_min, int64_t quant_max) {
  check_fake_quantize("fake_quantize", x, scale, zero_point, axis, quant_min, quant_max);
  return fake_quantized(x, scale, zero_point, axis, quant_min, quant_max);
}

at::Tensor fake_quantize_backward(const at::Tensor& grad, const at::Tensor& x,
                                  const at::Tensor& scale, const at::Tensor& zero_point,
                                  int64_t axis, int64_t quant_min, int64_t quant_max) {
  check_fake_quantize_backward(grad, x, scale, zero_point, axis, quant_min, quant_max);
  auto result = at::empty_like(x, x.options().dtype(at::kFloat));
  const auto real = float_like(x, result);
  const auto gradient = float_like(grad, result);
  const float* in = real.const_data_ptr<float>();
  const float* from = gradient.const_data_ptr<float>();
  float* out = result.mutable_data_ptr<float>();
  for_each_element_range(memory_layout(result, axis), scale, zero_point, quant_min, quant_max,
                         {out, 12}, [=](const kernels::Quantizer& q, int64_t begin, int64_t count) {
                           kernels::kernels().fake_quantize_backward(q, from + begin, in + begin,
                                                                     out + begin, count);
                         });
  return result.to(x.scalar_type());
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CPU, m) {
  m.impl("fake_quantize", &fake_quantize);
  m.impl("fake_quantize_backward", &fake_quantize_backward);
}

}  // namespace qat::ops
