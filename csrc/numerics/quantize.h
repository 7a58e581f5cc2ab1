#pragma once
// Rules 2, 3 and 4 of docs/numerics.md: real -> code, code -> real, straight-through mask.

#include "numerics/arith.h"

namespace qat::numerics {

// One division per tensor or channel; elements are multiplied by the result.
QAT_INLINE float inverse_scale(float scale) { return divide(1.0f, scale); }

// The code before clamping: round(x * inverse_scale + zero_point), the sum taken in float.
QAT_INLINE float unclamped_code(float x, float inverse_scale, float zero_point) {
  return round_half_even(add(mul(x, inverse_scale), zero_point));
}

// NaN gives the zero point; infinities saturate.
QAT_INLINE float clamp_code(float r, float zero_point, float quant_min, float quant_max) {
  const float c = clamp(r, quant_min, quant_max);
  return r != r ? zero_point : c;
}

QAT_INLINE int32_t quantize(float x, float inverse_scale, float zero_point, float quant_min,
                            float quant_max) {
  const float r = unclamped_code(x, inverse_scale, zero_point);
  return static_cast<int32_t>(clamp_code(r, zero_point, quant_min, quant_max));
}

QAT_INLINE float dequantize(int32_t code, int32_t zero_point, float scale) {
  return mul(to_float(code - zero_point), scale);
}

// True where a gradient passes straight through: the code before clamping is a legal code.
// NaN compares false with everything, so its gradient is stopped.
QAT_INLINE bool straight_through(float r, float quant_min, float quant_max) {
  return r >= quant_min && r <= quant_max;
}

}  // namespace qat::numerics
