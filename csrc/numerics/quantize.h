#pragma once
// Rules 2, 3 and 4 of docs/numerics.md: real -> code, code -> real, straight-through mask.

#include "numerics/arith.h"
#include "numerics/float_order.h"

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

#if !defined(__CUDACC__)
// Note [Vectors]
template <typename Integers, typename Reals>
QAT_INLINE Reals dequantize(Integers codes, Integers zero_point, Reals scale) {
  return mul(__builtin_convertvector(codes - zero_point, Reals), scale);
}
#endif

// The x that straight_through() lets pass: unclamped_code() never falls where x rises, so they are
// the floats of an interval. lo > hi: none.
struct PassRange {
  float lo, hi;
};

// True where a gradient passes straight through: the code before clamping is a legal code.
// NaN compares false with everything, so its gradient is stopped.
QAT_INLINE bool straight_through(float r, float quant_min, float quant_max) {
  return r >= quant_min && r <= quant_max;
}

// Two bisections over all floats in their order; for the host. inverse_scale: positive.
QAT_INLINE PassRange pass_range(float inverse_scale, float zero_point, float quant_min,
                                float quant_max) {
  const auto code = [&](int64_t rank) {
    return unclamped_code(float_at(static_cast<int32_t>(rank)), inverse_scale, zero_point);
  };
  // The first rank, from -inf to one past +inf, where `reached` is true.
  const auto first = [](auto reached) {
    int64_t low = rank_of(-INFINITY), high = int64_t{rank_of(INFINITY)} + 1;
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (reached(middle)) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  };
  const int64_t lo = first([&](int64_t rank) { return code(rank) >= quant_min; });
  const int64_t beyond = first([&](int64_t rank) { return !(code(rank) <= quant_max); });
  if (lo >= beyond) return {INFINITY, -INFINITY};
  return {float_at(static_cast<int32_t>(lo)), float_at(static_cast<int32_t>(beyond - 1))};
}

}  // namespace qat::numerics
