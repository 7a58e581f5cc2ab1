#pragma once
// Rule 5 of docs/numerics.md: an observed range becomes a scale and a zero point.

#include "numerics/arith.h"
#include "numerics/format.h"

namespace qat::numerics {

enum class Symmetry : int32_t { affine = 0, symmetric = 1 };

struct QuantParams {
  float scale = 1.0f;
  int32_t zero_point = 0;
  constexpr bool operator==(const QuantParams&) const = default;
};

constexpr float kMinScale = 0x1p-40f;
constexpr float kMaxScale = 0x1p+100f;

// Smallest power of two that is not below a positive, finite scale.
QAT_INLINE float next_power_of_two(float scale) {
  int exponent = 0;
  const float mantissa = frexpf(scale, &exponent);  // in [0.5, 1)
  return ldexpf(1.0f, mantissa == 0.5f ? exponent - 1 : exponent);
}

QAT_INLINE float limit_scale(float scale) {
  if (!(scale >= kMinScale)) return kMinScale;  // also NaN and zero
  return scale > kMaxScale ? kMaxScale : scale;
}

QAT_INLINE float finish_scale(float scale, bool power_of_two) {
  const float limited = limit_scale(scale);
  return power_of_two ? limit_scale(next_power_of_two(limited)) : limited;
}

// Of the code that stands for 0 where lo <= 0 stands for quant_min, as a number.
QAT_INLINE float affine_zero_point(float lo, float scale, IntFormat format) {
  const float quant_min = to_float(format.quant_min());
  const float zero_point = round_half_even(quant_min - divide(lo, scale));
  return clamp(zero_point, quant_min, to_float(format.quant_max()));
}

// lo, hi: the observed range in real units; it is widened to contain zero. For a symmetric
// unsigned format the caller has refused lo < 0 (it would be clipped away).
QAT_INLINE QuantParams choose_qparams(float lo, float hi, IntFormat format, Symmetry symmetry,
                                      bool power_of_two) {
  lo = lo < 0.0f ? lo : 0.0f;
  hi = hi > 0.0f ? hi : 0.0f;
  const float quant_min = to_float(format.quant_min());
  const float quant_max = to_float(format.quant_max());
  if (symmetry == Symmetry::symmetric) {
    const float magnitude = format.is_signed && -lo > hi ? -lo : hi;
    return {finish_scale(divide(magnitude, quant_max), power_of_two), 0};
  }
  const float scale = finish_scale(divide(hi - lo, quant_max - quant_min), power_of_two);
  return {scale, static_cast<int32_t>(affine_zero_point(lo, scale, format))};
}

// A symmetric per-channel weight scale from the channel's largest magnitude.
QAT_INLINE float weight_scale(float absmax, IntFormat format, bool power_of_two) {
  return choose_qparams(-absmax, absmax, format, Symmetry::symmetric, power_of_two).scale;
}

}  // namespace qat::numerics
