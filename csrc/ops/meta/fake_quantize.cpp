#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "ops/check_quantize.h"

namespace qat::ops {
namespace {

at::Tensor fake_quantize(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& zero_point,
                         int64_t axis, int64_t quant_min, int64_t quant_max) {
  check_fake_quantize("fake_quantize", x, scale, zero_point, axis, quant_min, quant_max);
  return at::empty_like(x);
}

at::Tensor fake_quantize_backward(const at::Tensor& grad, const at::Tensor& x,
                                  const at::Tensor& scale, const at::Tensor& zero_point,
                                  int64_t axis, int64_t quant_min, int64_t quant_max) {
  check_fake_quantize_backward(grad, x, scale, zero_point, axis, quant_min, quant_max);
  return at::empty_like(x);
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, Meta, m) {
  m.impl("fake_quantize", &fake_quantize);
  m.impl("fake_quantize_backward", &fake_quantize_backward);
}

}  // namespace qat::ops
