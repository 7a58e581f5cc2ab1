#pragma once
// What the loops over a chain share: how the elements are cut, where a value comes from, and how a
// run-time activation becomes a compile-time one.

#include "kernels/cpu/capability.h"
#include "numerics/quantize.h"
#include "numerics/requantize.h"

namespace qat::kernels::QAT_CPU_CAPABILITY {

using numerics::ActivationKind;

// One stretch: elements i..i+n, whose parameters stand at j..j+n of the tile.
constexpr int64_t kStretch = 1024;

template <typename Run>
QAT_INLINE void for_each_stretch(int64_t begin, int64_t end, int64_t width, Run run) {
  for (int64_t row = begin; row < end; row += width) {
    const int64_t n = end - row < width ? end - row : width;
    for (int64_t j = 0; j < n; j += kStretch) run(row + j, j, n - j < kStretch ? n - j : kStretch);
  }
}

template <typename Code>
QAT_INLINE void add_codes(const Chain& chain, const Code* __restrict codes, int64_t j,
                          float* __restrict value, int64_t n) {
  const float* __restrict scale = chain.residual_scale + j;
  const int32_t* __restrict zero_point = chain.residual_zero_point + j;
  for (int64_t k = 0; k < n; ++k) {
    value[k] = numerics::add(value[k], numerics::dequantize(codes[k], zero_point[k], scale[k]));
  }
}

QAT_INLINE void add_residual(const Chain& chain, int64_t i, int64_t j, float* __restrict value,
                             int64_t n) {
  switch (chain.residual_type) {
    case ResidualType::none:
      return;
    case ResidualType::float32: {
      const float* __restrict residual = static_cast<const float*>(chain.residual) + i;
      for (int64_t k = 0; k < n; ++k) value[k] = numerics::add(value[k], residual[k]);
      return;
    }
    case ResidualType::uint8:
      return add_codes(chain, static_cast<const uint8_t*>(chain.residual) + i, j, value, n);
    case ResidualType::int8:
      return add_codes(chain, static_cast<const int8_t*>(chain.residual) + i, j, value, n);
  }
}

// What goes into the activation: acc * multiplier + bias + residual.
QAT_INLINE void load_value(const Chain& chain, int64_t i, int64_t j, float* __restrict value,
                           int64_t n) {
  const float* __restrict acc = chain.acc + i;
  const float* __restrict multiplier = chain.multiplier + j;
  const float* __restrict bias = chain.bias + j;
  for (int64_t k = 0; k < n; ++k) {
    value[k] = numerics::real_value(acc[k], multiplier[k], bias[k]);
  }
  add_residual(chain, i, j, value, n);
}

// Source of a value in a fused loop: computed on the spot, or read from a stretch that load_value
// filled. The latter serves all residual types with one copy of each loop.
template <bool buffered>
QAT_INLINE float value_at(const float* __restrict source, const float* __restrict multiplier,
                          const float* __restrict bias, int64_t k) {
  if constexpr (buffered) return source[k];
  return numerics::real_value(source[k], multiplier[k], bias[k]);
}

// Calls run.operator()<buffered>(i, j, n, source) on each stretch of begin..end.
template <typename Run>
QAT_INLINE void for_each_source(const Chain& chain, int64_t begin, int64_t end, Run run) {
  if (chain.residual_type == ResidualType::none) {
    for_each_stretch(begin, end, chain.width, [&](int64_t i, int64_t j, int64_t n) {
      run.template operator()<false>(i, j, n, chain.acc + i);
    });
    return;
  }
  alignas(64) float value[kStretch];
  for_each_stretch(begin, end, chain.width, [&](int64_t i, int64_t j, int64_t n) {
    load_value(chain, i, j, value, n);
    run.template operator()<true>(i, j, n, value);
  });
}

// Calls run.operator()<kind>() with the activation as a compile-time constant.
template <typename Run>
QAT_INLINE void with_activation(ActivationKind kind, Run run) {
  switch (kind) {
    case ActivationKind::none:
      return run.template operator()<ActivationKind::none>();
    case ActivationKind::relu:
      return run.template operator()<ActivationKind::relu>();
    case ActivationKind::clamp:
      return run.template operator()<ActivationKind::clamp>();
    case ActivationKind::leaky_relu:
      return run.template operator()<ActivationKind::leaky_relu>();
    case ActivationKind::hardswish:
      return run.template operator()<ActivationKind::hardswish>();
    case ActivationKind::hardsigmoid:
      return run.template operator()<ActivationKind::hardsigmoid>();
  }
}

}  // namespace qat::kernels::QAT_CPU_CAPABILITY
