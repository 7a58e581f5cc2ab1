#pragma once
// Rules 7, 8 and 10 of docs/numerics.md on the rows of a chain.

#include "kernels/cuda/parameters.cuh"
#include "numerics/activation.h"
#include "numerics/requantize.h"

namespace qat::kernels::cuda {

__device__ __forceinline__ float value_before_residual(const ChannelChain& chain, float acc,
                                                       int64_t channel) {
  return numerics::real_value(acc, at(chain.multiplier, channel), at(chain.bias, channel));
}

// Elements i..i+n: their channels, accumulators and what goes into the activation.
template <int n>
struct Stretch {
  int64_t channel[n];
  float acc[n];
  float value[n];
};

template <typename Code, int n>
__device__ __forceinline__ void add_codes(const ChannelChain& chain, int64_t i, Stretch<n>& s) {
  const auto codes = load<n>(static_cast<const Code*>(chain.residual) + i);
#pragma unroll
  for (int k = 0; k < n; ++k) {
    const float residual =
        numerics::dequantize(codes.v[k], at(chain.residual_zero_point, s.channel[k]),
                             at(chain.residual_scale, s.channel[k]));
    s.value[k] = numerics::add(s.value[k], residual);
  }
}

template <int n>
__device__ __forceinline__ void add_residual(const ChannelChain& chain, int64_t i, Stretch<n>& s) {
  switch (chain.residual_type) {
    case ResidualType::none:
      return;
    case ResidualType::float32: {
      const auto residual = load<n>(static_cast<const float*>(chain.residual) + i);
#pragma unroll
      for (int k = 0; k < n; ++k) s.value[k] = numerics::add(s.value[k], residual.v[k]);
      return;
    }
    case ResidualType::uint8:
      return add_codes<uint8_t>(chain, i, s);
    case ResidualType::int8:
      return add_codes<int8_t>(chain, i, s);
  }
}

// The channel of element i is known to the caller, who may have it for nothing.
template <int n>
__device__ __forceinline__ Stretch<n> load_stretch(const ChannelChain& chain, int64_t i,
                                                   int64_t channel) {
  Stretch<n> s;
  const auto acc = load<n>(chain.acc + i);
#pragma unroll
  for (int k = 0; k < n; ++k) {
    s.channel[k] = channel;
    s.acc[k] = acc.v[k];
    s.value[k] = value_before_residual(chain, acc.v[k], channel);
    channel = channel + 1 == chain.channels ? 0 : channel + 1;
  }
  add_residual(chain, i, s);
  return s;
}

template <int n>
__device__ __forceinline__ Stretch<n> load_stretch(const ChannelChain& chain, int64_t i) {
  return load_stretch<n>(chain, i, remainder_of(i, chain.channels));
}

__device__ __forceinline__ float activated(const ChannelChain& chain, float value,
                                           int64_t channel) {
  return numerics::activate({chain.activation, at(chain.p0, channel), chain.p1}, value);
}

// Whether packs of the chain's own inputs may be loaded whole.
inline bool inputs_aligned(const ChannelChain& chain) {
  return aligned_128(chain.acc, static_cast<const uint8_t*>(chain.residual));
}

}  // namespace qat::kernels::cuda
