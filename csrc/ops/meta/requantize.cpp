#include <torch/library.h>

#include "ops/chain.h"

namespace qat::ops {
namespace {

at::Tensor requantize(const at::Tensor& acc, const at::Tensor& multiplier,
                      const OptionalTensor& bias, const at::Tensor& scale,
                      const at::Tensor& zero_point, int64_t axis, int64_t quant_min,
                      int64_t quant_max) {
  check_requantize(acc, multiplier, bias, {scale, zero_point, quant_min, quant_max}, axis);
  return empty_rows_like(acc, axis, code_type(quant_min));
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, Meta, m) { m.impl("requantize", &requantize); }

}  // namespace qat::ops
