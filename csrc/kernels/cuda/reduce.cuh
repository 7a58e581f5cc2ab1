#pragma once
// Reductions with one result whatever the grid: integers in any order, doubles in the order of
// Note [Fixed summation order] in kernels/cpu/tile.h. No atomics.

#include "kernels/cpu/range_keys.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/packs.cuh"

namespace qat::kernels::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

// combine(int32, int32), associative and commutative, over the threads of a block; all of them must
// come here. The result is valid in thread 0.
template <typename Combine>
__device__ __forceinline__ int32_t block_reduce(int32_t value, const Combine& combine) {
  __shared__ int32_t of_warp[kThreads / kWarp];
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) {
    value = combine(value, __shfl_down_sync(kAllLanes, value, lanes));
  }
  __syncthreads();  // of_warp may still be read by an earlier call
  if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = value;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int warp = 1; warp < kThreads / kWarp; ++warp) value = combine(value, of_warp[warp]);
  }
  return value;
}

__device__ __forceinline__ RangeKeys block_merge(const RangeKeys& keys) {
  return {block_reduce(keys.minimum, [](int32_t a, int32_t b) { return a < b ? a : b; }),
          block_reduce(keys.maximum, [](int32_t a, int32_t b) { return a > b ? a : b; })};
}

// The range of the keys that thread blocks left; [0, 0] where no value was finite. A single block.
static __global__ void __launch_bounds__(kThreads)
    merge_parts(const RangeKeys* parts, int64_t n, float* range) {
  RangeKeys keys;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) merge(keys, parts[i]);
  keys = block_merge(keys);
  if (threadIdx.x != 0) return;
  range[0] = is_set(keys) ? numerics::float_at(keys.minimum) : 0.0f;
  range[1] = is_set(keys) ? numerics::float_at(keys.maximum) : 0.0f;
}

// Calls body(block, column j, channel, first element, end) once for each column of each block; the
// column's elements lie g.width apart.
template <typename Body>
__device__ __forceinline__ void for_each_column(const ColumnBlocks& g, const Body& body) {
  for (int64_t t = first_item(); t < g.columns(); t += item_step()) {
    const int64_t block = quotient_of(t, g.width), j = t - block * g.width;
    const int64_t begin = block * g.elements;
    const int64_t end = begin + g.elements < g.total ? begin + g.elements : g.total;
    body(block, j, remainder_of(j, g.channels), begin + j, end);
  }
}

// Adds a column of one block as kernels/cpu/row_sums.h does: float sums over 16 rows, then double;
// an unfinished last row is on its own. add(element, sums) gets each element j, j + width, ...
constexpr int64_t kRowsOfSum = 16;

template <int kSums, typename Add>
__device__ __forceinline__ void sum_column(int64_t width, int64_t j, int64_t n, double* sums,
                                           const Add& add) {
  float group[kSums] = {};
  const auto flush = [&] {
#pragma unroll
    for (int s = 0; s < kSums; ++s) {
      sums[s] += static_cast<double>(group[s]);
      group[s] = 0.0f;
    }
  };
  const int64_t whole = quotient_of(n, width);
  int64_t row = 0;
  for (int64_t i = j; i < n; i += width) {
    if (row == whole) flush();
    add(i, group);
    if (++row % kRowsOfSum == 0) flush();
  }
  flush();
}

// open(channel) returns add(element, float sums); columns: [blocks, kSums, width].
template <int kSums, typename Open>
__device__ __forceinline__ void sum_columns(const ColumnBlocks& g, double* columns,
                                            const Open& open) {
  for_each_column(g, [&](int64_t block, int64_t j, int64_t c, int64_t first, int64_t end) {
    double sums[kSums] = {};
    const auto add = open(c);
    const int64_t begin = first - j;
    sum_column<kSums>(g.width, j, end - begin, sums,
                      [&](int64_t i, float* group) { add(begin + i, group); });
#pragma unroll
    for (int s = 0; s < kSums; ++s) columns[(block * kSums + s) * g.width + j] = sums[s];
  });
}

// Adds the columns of each channel: [blocks * sums, width] -> [blocks * sums, channels].
static __global__ void __launch_bounds__(kThreads)
    fold_columns(ColumnBlocks g, int64_t sums, const double* columns, double* partials) {
  for (int64_t t = first_item(); t < g.count * sums * g.channels; t += item_step()) {
    const int64_t row = quotient_of(t, g.channels);
    const double* column = columns + row * g.width + (t - row * g.channels);
    double sum = column[0];
    for (int64_t k = g.channels; k < g.width; k += g.channels) sum += column[k];
    partials[t] = sum;
  }
}

// Adds the blocks of sum s of a channel.
__device__ __forceinline__ double add_blocks(const ColumnBlocks& g, int64_t sums, int64_t s,
                                             int64_t channel, const double* partials) {
  double sum = 0.0;
  for (int64_t b = 0; b < g.count; ++b) sum += partials[(b * sums + s) * g.channels + channel];
  return sum;
}

__device__ __forceinline__ double row_count(const ColumnBlocks& g) {
  return static_cast<double>(g.total / g.channels);
}

}  // namespace qat::kernels::cuda
