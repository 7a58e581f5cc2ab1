// Mean and biased variance per channel, summed in the order of kernels/cpu/tile.h.

#include "kernels/cuda/chain.cuh"
#include "kernels/cuda/reduce.cuh"

namespace qat::kernels::cuda {
namespace {

constexpr int kSums = 2;

// The first row: subtracting it keeps the sum of squares free of cancellation where the mean is
// large against the deviation.
__device__ __forceinline__ float shift_of(const ChannelChain& chain, int64_t channel) {
  return chain.count == 0 ? 0.0f : value_before_residual(chain, chain.acc[channel], channel);
}

__global__ void __launch_bounds__(kThreads)
    sum(ChannelChain chain, ColumnBlocks g, double* columns) {
  sum_columns<kSums>(g, columns, [&](int64_t c) {
    const float shift = shift_of(chain, c);
    return [&chain, c, shift](int64_t i, float* sums) {
      const float value = value_before_residual(chain, chain.acc[i], c);
      const float difference = numerics::add(value, -shift);
      sums[0] = numerics::add(sums[0], difference);
      sums[1] = numerics::add(sums[1], numerics::mul(difference, difference));
    };
  });
}

__global__ void __launch_bounds__(kThreads)
    finish(ChannelChain chain, ColumnBlocks g, const double* partials, float* mean,
           float* variance) {
  const double rows = row_count(g);
  for (int64_t c = first_item(); c < g.channels; c += item_step()) {
    const double offset = add_blocks(g, kSums, 0, c, partials) / rows;
    const double spread = add_blocks(g, kSums, 1, c, partials) / rows - offset * offset;
    mean[c] = static_cast<float>(static_cast<double>(shift_of(chain, c)) + offset);
    variance[c] = static_cast<float>(spread < 0.0 ? 0.0 : spread);
  }
}

}  // namespace

void batch_statistics(const ChannelChain& chain, const ColumnBlocks& g,
                      const SumWorkspace& workspace, float* mean, float* variance,
                      cudaStream_t stream) {
  constexpr const char* kOp = "batch_statistics";
  launch(kOp, sum, g.columns(), stream, chain, g, workspace.columns);
  launch(kOp, fold_columns, g.count * kSums * g.channels, stream, g, kSums, workspace.columns,
         workspace.partials);
  launch(kOp, finish, g.channels, stream, chain, g, workspace.partials, mean, variance);
}

}  // namespace qat::kernels::cuda
