#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <torch/library.h>

#include <atomic>

#include "ops/cpu/chain_view.h"

namespace qat::ops {
namespace {

std::tuple<at::Tensor, at::Tensor> affine_half(const at::Tensor& acc,
                                               const OptionalTensor& multiplier,
                                               const OptionalTensor& bias, int64_t axis) {
  check_affine_half(acc, multiplier, bias, axis);
  const OptionalTensor none;
  const ChainView view(
      {"affine_half", acc, multiplier, bias, none, none, none, none, axis, 0, 0, 0});
  auto values = empty_rows_like(acc, axis, at::kHalf);
  auto* to = static_cast<uint16_t*>(values.mutable_data_ptr());
  std::atomic<bool> fits = true;
  view.for_each_range([&](int64_t begin, int64_t end) {
    if (!kernels::kernels().chain_half(view.chain(), begin, end, to)) fits = false;
  });
  return {values, at::full({1}, fits.load(), acc.options().dtype(at::kBool))};
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CPU, m) { m.impl("affine_half", &affine_half); }

}  // namespace qat::ops
