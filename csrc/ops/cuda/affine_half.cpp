#include <ATen/ops/ones.h>
#include <torch/library.h>

#include "ops/cuda/chain_view.h"
#include "ops/cuda/device.h"

namespace qat::ops::cuda {
namespace {

std::tuple<at::Tensor, at::Tensor> affine_half(const at::Tensor& acc,
                                               const OptionalTensor& multiplier,
                                               const OptionalTensor& bias, int64_t axis) {
  check_affine_half(acc, multiplier, bias, axis);
  const OptionalTensor none;
  const OnDeviceOf device(acc);
  const ChainView view(
      {"affine_half", acc, multiplier, bias, none, none, none, none, axis, 0, 0, 0});
  auto values = empty_rows_like(acc, axis, at::kHalf);
  auto fits = at::ones({1}, acc.options().dtype(at::kBool));
  kernels::cuda::affine_half(view.chain(), values.mutable_data_ptr(), fits.mutable_data_ptr<bool>(),
                             device.stream());
  return {values, fits};
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CUDA, m) { m.impl("affine_half", &affine_half); }

}  // namespace qat::ops::cuda
