#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/empty_strided.h>
#include <torch/library.h>

#include "ops/check_quantize.h"

namespace qat::ops {
namespace {

std::tuple<at::Tensor, at::Tensor> fake_quantize_with_mask(const at::Tensor& x,
                                                           const at::Tensor& scale,
                                                           const at::Tensor& zero_point,
                                                           int64_t axis, int64_t quant_min,
                                                           int64_t quant_max) {
  check_fake_quantize("fake_quantize_with_mask", x, scale, zero_point, axis, quant_min, quant_max);
  return {at::empty_like(x), empty_mask(x)};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> quantize_with_mask(const at::Tensor& x,
                                                                  const at::Tensor& scale,
                                                                  const at::Tensor& zero_point,
                                                                  int64_t axis, int64_t quant_min,
                                                                  int64_t quant_max) {
  check_fake_quantize("quantize_with_mask", x, scale, zero_point, axis, quant_min, quant_max);
  return {at::empty_like(x, x.options().dtype(code_type(quant_min))), empty_mask(x),
          at::empty({2}, x.options().dtype(at::kFloat))};
}

at::Tensor straight_through(const at::Tensor& grad, const at::Tensor& mask,
                            c10::SymIntArrayRef stride) {
  check_straight_through(grad, mask, stride);
  return at::empty_strided_symint(grad.sym_sizes(), stride, grad.options());
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, Meta, m) {
  m.impl("fake_quantize_with_mask", &fake_quantize_with_mask);
  m.impl("quantize_with_mask", &quantize_with_mask);
  m.impl("straight_through", &straight_through);
}

}  // namespace qat::ops
