// The finite range of a tensor or of each channel, and the running range that follows it.

#include "kernels/cuda/reduce.cuh"
#include "kernels/running_range.h"

namespace qat::kernels::cuda {
namespace {

__global__ void __launch_bounds__(kThreads)
    range_of_columns(const float* rows, ColumnBlocks g, RangeKeys* columns) {
  for_each_column(g, [&](int64_t block, int64_t j, int64_t, int64_t first, int64_t end) {
    RangeKeys keys;
    for (int64_t i = first; i < end; i += g.width) include(keys, rows[i]);
    columns[block * g.width + j] = keys;
  });
}

// One thread block per channel.
__global__ void __launch_bounds__(kThreads)
    range_of_channels(ColumnBlocks g, const RangeKeys* columns, RangeKeys* channels) {
  const int64_t each = g.width / g.channels;
  for (int64_t c = blockIdx.x; c < g.channels; c += gridDim.x) {
    RangeKeys keys;
    for (int64_t k = threadIdx.x; k < g.count * each; k += kThreads) {
      const int64_t block = quotient_of(k, each);
      merge(keys, columns[block * g.width + c + (k - block * each) * g.channels]);
    }
    keys = block_merge(keys);
    if (threadIdx.x == 0) channels[c] = keys;
  }
}

// A single thread block: whether any channel saw a finite value decides about the count.
__global__ void __launch_bounds__(kThreads)
    follow(const RangeKeys* channels, int64_t n, float momentum, float* min, float* max,
           int64_t* count) {
  const bool first = *count == 0;
  int any = 0;
  for (int64_t c = threadIdx.x; c < n; c += kThreads) {
    if (!is_set(channels[c])) continue;
    any = 1;
    const float low = numerics::float_at(channels[c].minimum);
    const float high = numerics::float_at(channels[c].maximum);
    min[c] = first ? low : follow_minimum(min[c], low, momentum);
    max[c] = first ? high : follow_maximum(max[c], high, momentum);
  }
  if (__syncthreads_or(any) != 0 && threadIdx.x == 0) ++*count;
}

}  // namespace

void observe_minmax(const float* rows, const ColumnBlocks& g, float momentum, RangeKeys* keys,
                    float* min, float* max, int64_t* count, cudaStream_t stream) {
  constexpr const char* kOp = "observe_minmax_";
  if (g.total == 0) return;
  RangeKeys* channels = keys + g.columns();
  launch(kOp, range_of_columns, g.columns(), stream, rows, g, keys);
  launch_blocks(kOp, range_of_channels, g.channels, stream, g, keys, channels);
  launch_blocks(kOp, follow, 1, stream, channels, g.channels, momentum, min, max, count);
}

}  // namespace qat::kernels::cuda
