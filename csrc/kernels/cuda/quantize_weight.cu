// Symmetric weight codes with one scale per tensor, output channel, or (group, column).

#include "kernels/cpu/range_keys.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/packs.cuh"
#include "kernels/cuda/reduce.cuh"
#include "numerics/quantize.h"

namespace qat::kernels::cuda {
namespace {

constexpr int64_t kPartElements = 4096;
constexpr int64_t kMostParts = 1024;
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

// Magnitudes order as their bits do; NaN is skipped. One thread block per part of a channel.
__global__ void __launch_bounds__(kThreads)
    absmax(WeightLayout w, int64_t parts, const float* weight, int32_t* magnitudes) {
  const int64_t n = w.per_channel(), length = divide_up(n, parts);
  for (int64_t p = blockIdx.x; p < w.channels() * parts; p += gridDim.x) {
    const int64_t channel = quotient_of(p, parts), begin = (p - channel * parts) * length;
    const int64_t end = begin + length < n ? begin + length : n;
    int32_t largest = 0;
    for (int64_t k = begin + threadIdx.x; k < end; k += kThreads) {
      const int32_t magnitude = float_bits(weight[offset_of(w, channel, k)]) & 0x7fffffff;
      if (magnitude <= kInfinity && magnitude > largest) largest = magnitude;
    }
    largest = block_reduce(largest, [](int32_t a, int32_t b) { return a > b ? a : b; });
    if (threadIdx.x == 0) magnitudes[p] = largest;
  }
}

__global__ void __launch_bounds__(kThreads)
    choose_scales(int64_t channels, int64_t parts, numerics::IntFormat format, bool power_of_two,
                  const int32_t* magnitudes, float* scales) {
  for (int64_t c = first_item(); c < channels; c += item_step()) {
    int32_t largest = 0;
    for (int64_t p = c * parts; p < (c + 1) * parts; ++p) {
      if (magnitudes[p] > largest) largest = magnitudes[p];
    }
    scales[c] = numerics::weight_scale(from_bits(largest), format, power_of_two);
  }
}

__global__ void __launch_bounds__(kThreads)
    to_codes(WeightLayout w, int64_t n, float quant_min, float quant_max, const float* weight,
             const float* scales, int8_t* codes, bool aligned) {
  for_each_pack<kFloats>(n, aligned, [&]<int count>(int64_t i) {
    const auto from = load<count>(weight + i);
    Pack<int8_t, count> to;
#pragma unroll
    for (int k = 0; k < count; ++k) {
      const float inverse = numerics::inverse_scale(scales[channel_of(w, i + k)]);
      to.v[k] =
          static_cast<int8_t>(numerics::quantize(from.v[k], inverse, 0.0f, quant_min, quant_max));
    }
    store(codes + i, to);
  });
}

}  // namespace

int64_t weight_parts(const WeightLayout& w) {
  return std::clamp<int64_t>(w.per_channel() / kPartElements, 1, kMostParts);
}

void quantize_weight(const WeightLayout& w, numerics::IntFormat format, bool power_of_two,
                     const float* weight, int32_t* magnitudes, float* scales, int8_t* codes,
                     cudaStream_t stream) {
  constexpr const char* kOp = "quantize_weight";
  const int64_t parts = weight_parts(w), channels = w.channels();
  const int64_t n = channels * w.per_channel();
  launch_blocks(kOp, absmax, channels * parts, stream, w, parts, weight, magnitudes);
  launch(kOp, choose_scales, channels, stream, channels, parts, format, power_of_two, magnitudes,
         scales);
  launch(kOp, to_codes, divide_up(n, kFloats), stream, w, n, static_cast<float>(format.quant_min()),
         static_cast<float>(format.quant_max()), weight, scales, codes, aligned_128(weight, codes));
}

}  // namespace qat::kernels::cuda
