#pragma once
// Parameters per tensor or per channel, read on the device.

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/packs.cuh"
#include "numerics/quantize.h"

namespace qat::kernels::cuda {

template <typename T>
__device__ __forceinline__ T at(const PerChannel<T>& parameter, int64_t channel) {
  if (parameter.values == nullptr) return parameter.otherwise;
  return parameter.values[parameter.uniform ? 0 : channel];
}

__device__ __forceinline__ int64_t channel_of(const Elements& elements, int64_t i) {
  if (elements.channels == 1) return 0;
  const int64_t row = elements.inner == 1 ? i : quotient_of(i, elements.inner);
  return remainder_of(row, elements.channels);
}

struct CodeParameters {
  float scale, inverse_scale;
  int32_t zero_point;
  float quant_min, quant_max;

  __device__ __forceinline__ float unclamped(float x) const {
    return numerics::unclamped_code(x, inverse_scale, numerics::to_float(zero_point));
  }
  __device__ __forceinline__ int32_t quantize(float x) const {
    return numerics::quantize(x, inverse_scale, numerics::to_float(zero_point), quant_min,
                              quant_max);
  }
  __device__ __forceinline__ float dequantize(int32_t code) const {
    return numerics::dequantize(code, zero_point, scale);
  }
  __device__ __forceinline__ bool passes(float x) const {
    return numerics::straight_through(unclamped(x), quant_min, quant_max);
  }
};

// Divides once per thread where the quantizer is uniform.
class QuantizerReader {
 public:
  __device__ __forceinline__ explicit QuantizerReader(const ChannelQuantizer& quantizer)
      : quantizer_(quantizer), uniform_(quantizer.scale.uniform) {
    if (uniform_) first_ = read(0);
  }
  __device__ __forceinline__ CodeParameters at_channel(int64_t channel) const {
    return uniform_ ? first_ : read(channel);
  }

 private:
  __device__ __forceinline__ CodeParameters read(int64_t channel) const {
    const float scale = at(quantizer_.scale, channel);
    return {scale, numerics::inverse_scale(scale), at(quantizer_.zero_point, channel),
            quantizer_.quant_min, quantizer_.quant_max};
  }

  const ChannelQuantizer& quantizer_;
  bool uniform_;
  CodeParameters first_{};
};

}  // namespace qat::kernels::cuda
