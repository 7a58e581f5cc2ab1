// Counts a tensor into a histogram. Counts are integers, so atomics in any order give one result.

#include "kernels/cuda/reduce.cuh"
#include "numerics/histogram.h"

namespace qat::kernels::cuda {
namespace {

using numerics::kHistogramBins;
using numerics::kHistogramSlots;

__device__ __forceinline__ void atomic_add(int64_t* to, int64_t value) {
  static_assert(sizeof(unsigned long long) == sizeof(int64_t));
  atomicAdd(reinterpret_cast<unsigned long long*>(to), static_cast<unsigned long long>(value));
}

__global__ void __launch_bounds__(kThreads)
    range_of_parts(const float* x, int64_t n, RangeKeys* parts) {
  RangeKeys keys;
  for (int64_t i = first_item(); i < n; i += item_step()) include(keys, x[i]);
  keys = block_merge(keys);
  if (threadIdx.x == 0) parts[blockIdx.x] = keys;
}

// An exponent that no call of the operator leaves behind is taken for the nearest legal one.
__device__ __forceinline__ int32_t legal_exponent(int64_t exponent) {
  if (exponent < numerics::kLowestExponent) return numerics::kLowestExponent;
  if (exponent > numerics::kHighestExponent) return numerics::kHighestExponent;
  return static_cast<int32_t>(exponent);
}

// A single thread block.
__global__ void __launch_bounds__(kThreads)
    widen(const RangeKeys* parts, int64_t n, const HistogramState state) {
  __shared__ int64_t wider[kHistogramBins];
  __shared__ int32_t doublings;
  RangeKeys keys;
  for (int64_t k = threadIdx.x; k < n; k += kThreads) merge(keys, parts[k]);
  keys = block_merge(keys);
  if (threadIdx.x == 0) {
    const int32_t old = legal_exponent(*state.exponent);
    int32_t exponent = old;
    if (is_set(keys)) {
      const float lo = numerics::float_at(keys.minimum) + 0.0f;
      const float hi = numerics::float_at(keys.maximum) + 0.0f;
      state.extremes[0] = lo < state.extremes[0] ? lo : state.extremes[0];
      state.extremes[1] = hi > state.extremes[1] ? hi : state.extremes[1];
      const int32_t needed = numerics::bin_exponent(-lo > hi ? -lo : hi);
      exponent = needed > old ? needed : old;
    }
    *state.exponent = exponent;
    doublings = exponent - old;
  }
  __syncthreads();
  if (doublings == 0) return;
  for (int32_t bin = static_cast<int32_t>(threadIdx.x); bin < kHistogramBins; bin += kThreads) {
    wider[bin] = 0;
  }
  __syncthreads();
  for (int32_t bin = static_cast<int32_t>(threadIdx.x); bin < kHistogramBins; bin += kThreads) {
    atomic_add(&wider[numerics::wider_bin(bin, doublings)], state.counts[bin]);
  }
  __syncthreads();
  for (int32_t bin = static_cast<int32_t>(threadIdx.x); bin < kHistogramBins; bin += kThreads) {
    state.counts[bin] = wider[bin];
  }
}

__global__ void __launch_bounds__(kThreads)
    count(const float* x, int64_t n, const HistogramState state) {
  __shared__ uint32_t slots[kHistogramSlots];  // a block's share is far below 2^32 elements
  for (int32_t s = static_cast<int32_t>(threadIdx.x); s < kHistogramSlots; s += kThreads) {
    slots[s] = 0;
  }
  __syncthreads();
  const float inverse_width = numerics::inverse_bin_width(static_cast<int32_t>(*state.exponent));
  for (int64_t i = first_item(); i < n; i += item_step()) {
    atomicAdd(&slots[numerics::histogram_slot(x[i], inverse_width)], 1u);
  }
  __syncthreads();
  for (int32_t s = static_cast<int32_t>(threadIdx.x); s < kHistogramSlots; s += kThreads) {
    if (slots[s] == 0) continue;
    atomic_add(s < kHistogramBins ? state.counts + s : state.tally + (s - kHistogramBins),
               slots[s]);
  }
}

}  // namespace

int64_t histogram_parts(int64_t n) {
  // A block adds up to 2050 counters to the state: 16 elements and more for each of them.
  constexpr int64_t kShare = 32768;
  return std::min(divide_up(n, kShare), kMostThreadBlocks);
}

void observe_histogram(const float* x, int64_t n, RangeKeys* parts, const HistogramState& state,
                       cudaStream_t stream) {
  constexpr const char* kOp = "observe_histogram_";
  const int64_t blocks = histogram_parts(n);
  if (blocks == 0) return;
  launch_blocks(kOp, range_of_parts, blocks, stream, x, n, parts);
  launch_blocks(kOp, widen, 1, stream, parts, blocks, state);
  launch_blocks(kOp, count, blocks, stream, x, n, state);
}

}  // namespace qat::kernels::cuda
