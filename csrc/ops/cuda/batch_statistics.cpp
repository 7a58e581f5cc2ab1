#include <torch/library.h>

#include "ops/cuda/chain_view.h"
#include "ops/cuda/device.h"
#include "ops/cuda/reduction.h"

namespace qat::ops::cuda {
namespace {

std::tuple<at::Tensor, at::Tensor> batch_statistics(const at::Tensor& acc,
                                                    const OptionalTensor& multiplier,
                                                    const OptionalTensor& bias, int64_t axis) {
  check_batch_statistics(acc, multiplier, bias, axis);
  const OnDeviceOf device(acc);
  const OptionalTensor none;
  const ChainView view(
      {"batch_statistics", acc, multiplier, bias, none, none, none, none, axis, 0, 0, 0});
  const auto& chain = view.chain();
  auto mean = at::empty({chain.channels}, acc.options());
  auto variance = at::empty({chain.channels}, acc.options());
  const auto blocks = column_blocks(chain.count, chain.channels);
  SumBuffers buffers(blocks, 2, acc.options());
  if (chain.channels == 0) return {mean, variance};
  kernels::cuda::batch_statistics(chain, blocks, buffers.workspace(),
                                  mean.mutable_data_ptr<float>(),
                                  variance.mutable_data_ptr<float>(), device.stream());
  return {mean, variance};
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CUDA, m) { m.impl("batch_statistics", &batch_statistics); }

}  // namespace qat::ops::cuda
