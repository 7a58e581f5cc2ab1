#include <torch/library.h>

#include "ops/cuda/chain_view.h"
#include "ops/cuda/device.h"

namespace qat::ops::cuda {
namespace {

at::Tensor bn_act(const at::Tensor& acc, const OptionalTensor& multiplier,
                  const OptionalTensor& bias, const OptionalTensor& residual,
                  const OptionalTensor& residual_scale, const OptionalTensor& residual_zero_point,
                  const OptionalTensor& slope, int64_t axis, int64_t activation, double p0,
                  double p1) {
  const ChainArguments arguments{
      "bn_act", acc,  multiplier, bias, residual, residual_scale, residual_zero_point,
      slope,    axis, activation, p0,   p1};
  check_chain(arguments);
  const OnDeviceOf device(acc);
  auto out = empty_rows_like(acc, axis, at::kFloat);
  const ChainView view(arguments);
  kernels::cuda::bn_act(view.chain(), out.mutable_data_ptr<float>(), device.stream());
  return out;
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CUDA, m) { m.impl("bn_act", &bn_act); }

}  // namespace qat::ops::cuda
