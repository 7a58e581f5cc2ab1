#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "ops/chain.h"
#include "ops/cuda/device.h"
#include "ops/cuda/parameters.h"

namespace qat::ops::cuda {
namespace {

std::tuple<at::Tensor, at::Tensor> fold_batch_norm(
    const OptionalTensor& multiplier, const OptionalTensor& bias, const OptionalTensor& gamma,
    const OptionalTensor& beta, const at::Tensor& mean, const at::Tensor& variance, double eps) {
  check_fold_batch_norm(multiplier, bias, gamma, beta, mean, variance, eps);
  const OnDeviceOf device(mean);
  Parameters parameters;
  const kernels::cuda::BatchNormChannels bn{.multiplier = parameters.read(multiplier, 1.0f),
                                            .bias = parameters.read(bias, 0.0f),
                                            .gamma = parameters.read(gamma, 1.0f),
                                            .beta = parameters.read(beta, 0.0f),
                                            .mean = parameters.read<float>(mean),
                                            .variance = parameters.read<float>(variance),
                                            .eps = static_cast<float>(eps)};
  auto folded_multiplier = at::empty(mean.sizes(), mean.options());
  auto folded_bias = at::empty(mean.sizes(), mean.options());
  kernels::cuda::fold_batch_norm(bn, mean.numel(), folded_multiplier.mutable_data_ptr<float>(),
                                 folded_bias.mutable_data_ptr<float>(), device.stream());
  return {folded_multiplier, folded_bias};
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CUDA, m) { m.impl("fold_batch_norm", &fold_batch_norm); }

}  // namespace qat::ops::cuda
