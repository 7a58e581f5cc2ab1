#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "ops/chain.h"

namespace qat::ops {
namespace {

std::tuple<at::Tensor, at::Tensor> affine_half(const at::Tensor& acc,
                                               const OptionalTensor& multiplier,
                                               const OptionalTensor& bias, int64_t axis) {
  check_affine_half(acc, multiplier, bias, axis);
  return {empty_rows_like(acc, axis, at::kHalf), at::empty({1}, acc.options().dtype(at::kBool))};
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, Meta, m) { m.impl("affine_half", &affine_half); }

}  // namespace qat::ops
