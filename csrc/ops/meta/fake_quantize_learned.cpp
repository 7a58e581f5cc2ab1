#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "ops/check_quantize.h"

namespace qat::ops {
namespace {

at::Tensor fake_quantize_learned(const at::Tensor& x, const at::Tensor& scale,
                                 const at::Tensor& zero_point, int64_t axis, int64_t quant_min,
                                 int64_t quant_max, double grad_scale, bool clipped_only) {
  check_fake_quantize_learned("fake_quantize_learned", {x, scale, zero_point, axis, quant_min,
                                                        quant_max, grad_scale, clipped_only});
  return at::empty_like(x);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> fake_quantize_learned_backward(
    const at::Tensor& grad, const at::Tensor& x, const at::Tensor& scale,
    const at::Tensor& zero_point, int64_t axis, int64_t quant_min, int64_t quant_max,
    double grad_scale, bool clipped_only) {
  check_fake_quantize_learned_backward(
      grad, {x, scale, zero_point, axis, quant_min, quant_max, grad_scale, clipped_only});
  return {at::empty_like(x), at::empty_like(scale), at::empty_like(zero_point)};
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, Meta, m) {
  m.impl("fake_quantize_learned", &fake_quantize_learned);
  m.impl("fake_quantize_learned_backward", &fake_quantize_learned_backward);
}

}  // namespace qat::ops
