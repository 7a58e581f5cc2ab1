#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "ops/check_quantize.h"

namespace qat::ops {
namespace {

at::Tensor quantize(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& zero_point,
                    int64_t axis, int64_t quant_min, int64_t quant_max) {
  check_fake_quantize("quantize", x, scale, zero_point, axis, quant_min, quant_max);
  return at::empty_like(x, x.options().dtype(code_type(quant_min)));
}

at::Tensor dequantize(const at::Tensor& codes, const at::Tensor& scale,
                      const at::Tensor& zero_point, int64_t axis) {
  check_dequantize(codes, scale, zero_point, axis);
  return at::empty_like(codes, codes.options().dtype(at::kFloat));
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, Meta, m) {
  m.impl("quantize", &quantize);
  m.impl("dequantize", &dequantize);
}

}  // namespace qat::ops
