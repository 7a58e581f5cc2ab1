// Symmetric weight codes with one scale per tensor, output channel, or (group, column).

#include "kernels/cpu/range_keys.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/packs.cuh"
#include "kernels/cuda/reduce.cuh"
#include "numerics/quantize.h"

namespace qat::kernels::cuda {
namespace {

constexpr int32_t kInfinity = 0x7f800000;

// Element k of a channel.
__device__ __forceinline__ int64_t offset_of(const WeightLayout& w, int64_t channel, int64_t k) {
  const int64_t group = quotient_of(channel, w.columns), column = channel - group * w.columns;
  const int64_t stretch = w.stretches == 1 ? 0 : quotient_of(k, w.inner);
  return ((group * w.stretches + stretch) * w.columns + column) * w.inner + k - stretch * w.inner;
}

__device__ __forceinline__ int64_t channel_of(const WeightLayout& w, int64_t i) {
  const int64_t row = quotient_of(i, w.inner), stretch = quotient_of(row, w.columns);
  return quotient_of(stretch, w.stretches) * w.columns + row - stretch * w.columns;
}

constexpr int kJobs = 32;

// By value, as a kernel's argument: at most 4 KB. Row y of the grid has job y.
struct Jobs {
  WeightJob each[kJobs];
};
static_assert(sizeof(Jobs) <= 4096);

// Magnitudes order as their bits do; NaN is skipped. One thread block per part of a channel.
__global__ void __launch_bounds__(kThreads) absmax(Jobs jobs) {
  const WeightJob& job = jobs.each[blockIdx.y];
  const WeightLayout& w = job.layout;
  const int64_t parts = weight_parts(w);
  const int64_t n = w.per_channel(), length = divide_up(n, parts);
  for (int64_t p = blockIdx.x; p < w.channels() * parts; p += gridDim.x) {
    const int64_t channel = quotient_of(p, parts), begin = (p - channel * parts) * length;
    const int64_t end = begin + length < n ? begin + length : n;
    int32_t largest = 0;
    for (int64_t k = begin + threadIdx.x; k < end; k += kThreads) {
      const int32_t magnitude = float_bits(job.weight[offset_of(w, channel, k)]) & 0x7fffffff;
      if (magnitude <= kInfinity && magnitude > largest) largest = magnitude;
    }
    largest = block_reduce(largest, [](int32_t a, int32_t b) { return a > b ? a : b; });
    if (threadIdx.x == 0) job.magnitudes[p] = largest;
  }
}

__global__ void __launch_bounds__(kThreads) choose_scales(Jobs jobs) {
  const WeightJob& job = jobs.each[blockIdx.y];
  const int64_t parts = weight_parts(job.layout);
  for (int64_t c = first_item(); c < job.layout.channels(); c += item_step()) {
    int32_t largest = 0;
    for (int64_t p = c * parts; p < (c + 1) * parts; ++p) {
      if (job.magnitudes[p] > largest) largest = job.magnitudes[p];
    }
    job.scales[c] = numerics::weight_scale(from_bits(largest), job.format, job.power_of_two);
  }
}

__global__ void __launch_bounds__(kThreads) to_codes(Jobs jobs) {
  const WeightJob& job = jobs.each[blockIdx.y];
  const WeightLayout& w = job.layout;
  const auto quant_min = static_cast<float>(job.format.quant_min());
  const auto quant_max = static_cast<float>(job.format.quant_max());
  const int64_t n = w.channels() * w.per_channel();
  const bool aligned =
      (reinterpret_cast<uintptr_t>(job.weight) | reinterpret_cast<uintptr_t>(job.codes)) % 16 == 0;
  for_each_pack<kFloats>(n, aligned, [&]<int count>(int64_t i) {
    const auto from = load<count>(job.weight + i);
    Pack<int8_t, count> to;
#pragma unroll
    for (int k = 0; k < count; ++k) {
      const float inverse = numerics::inverse_scale(job.scales[channel_of(w, i + k)]);
      to.v[k] =
          static_cast<int8_t>(numerics::quantize(from.v[k], inverse, 0.0f, quant_min, quant_max));
    }
    store(job.codes + i, to);
  });
}

void launch_jobs(const WeightJob* first, int count, cudaStream_t stream) {
  constexpr const char* kOp = "quantize_weight";
  Jobs jobs{};
  int64_t blocks = 0, channels = 0, packs = 0;
  for (int i = 0; i < count; ++i) {
    const WeightLayout& w = first[i].layout;
    jobs.each[i] = first[i];
    blocks = std::max(blocks, w.channels() * weight_parts(w));
    channels = std::max(channels, w.channels());
    packs = std::max(packs, divide_up(w.channels() * w.per_channel(), kFloats));
  }
  launch_rows(kOp, absmax, blocks, count, stream, jobs);
  launch_rows(kOp, choose_scales, divide_up(channels, kThreads), count, stream, jobs);
  launch_rows(kOp, to_codes, divide_up(packs, kThreads), count, stream, jobs);
}

}  // namespace

void quantize_weights(const WeightJob* jobs, int64_t count, cudaStream_t stream) {
  for (int64_t i = 0; i < count; i += kJobs) {
    launch_jobs(jobs + i, static_cast<int>(std::min<int64_t>(count - i, kJobs)), stream);
  }
}

}  // namespace qat::kernels::cuda
