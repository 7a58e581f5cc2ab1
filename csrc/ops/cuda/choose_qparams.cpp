#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "kernels/cuda/kernels.h"
#include "ops/check_quantize.h"
#include "ops/cuda/device.h"

namespace qat::ops::cuda {
namespace {

std::tuple<at::Tensor, at::Tensor> choose_qparams(const at::Tensor& min, const at::Tensor& max,
                                                  int64_t bits, bool is_signed, bool narrow,
                                                  bool symmetric, bool power_of_two) {
  check_choose_qparams(min, max, bits, is_signed, narrow);
  const OnDeviceOf device(min);
  auto scale = at::empty(min.sizes(), min.options());
  auto zero_point = at::empty(min.sizes(), min.options().dtype(at::kInt));
  const auto low = min.contiguous(), high = max.contiguous();
  const auto symmetry = symmetric ? numerics::Symmetry::symmetric : numerics::Symmetry::affine;
  kernels::cuda::choose_qparams(
      {{static_cast<int>(bits), is_signed, narrow}, symmetry, power_of_two},
      low.const_data_ptr<float>(), high.const_data_ptr<float>(), low.numel(),
      scale.mutable_data_ptr<float>(), zero_point.mutable_data_ptr<int32_t>(), device.stream());
  return {scale, zero_point};
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CUDA, m) { m.impl("choose_qparams", &choose_qparams); }

}  // namespace qat::ops::cuda
