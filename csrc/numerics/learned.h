#pragma once
// Rules 13 and 14 of docs/numerics.md: quantizers whose scale and zero point are learned.

#include "numerics/qparams.h"
#include "numerics/quantize.h"

namespace qat::numerics {

// The code of a learned zero point; NaN gives quant_min.
QAT_INLINE float learned_zero_code(float zero_point, float quant_min, float quant_max) {
  const float code = clamp(round_half_even(zero_point), quant_min, quant_max);
  return code == code ? code : quant_min;
}

// Rule 14: a scale that no step of an optimizer makes zero, negative or infinite.
QAT_INLINE float positive_scale(float parameter) {
  return limit_scale(parameter < 0.0f ? -parameter : parameter);
}

// Rule 14: the power-of-two scale of a threshold 2^log2_threshold that `levels` steps reach.
QAT_INLINE float power_of_two_scale(float log2_threshold, float levels) {
  const float exponent = ceilf(log2_threshold);
  const bool representable = exponent >= -149.0f && exponent <= 127.0f;
  const float threshold = representable ? ldexpf(1.0f, static_cast<int>(exponent))
                                        : (exponent > 0.0f ? kMaxScale * levels : 0.0f);
  return finish_scale(divide(threshold, levels), true);
}

// What one element's gradient contributes to those of the parameters. `zero_point` is to be
// multiplied by -scale.
template <typename Reals>
struct LearnedTerms {
  Reals scale, zero_point;
};

// grad: of the result; product: x * inverse_scale; code: of x, before and after clamping equal
// where `passes`; NaN in x contributes nothing. clipped_only: where it passes the scale learns
// nothing, as in PACT.
template <typename Reals, typename Truth>
QAT_INLINE LearnedTerms<Reals> learned_terms(Reals grad, Reals product, Reals code, Reals zero_code,
                                             Truth passes, bool clipped_only) {
  const Reals none{};
  const Reals centred = add(code, -zero_code);
  const Reals rounding = clipped_only ? none : add(centred, -product);
  const Reals slope = passes ? rounding : centred;
  const Truth clipped = (!passes) & (product == product);
  return {product == product ? mul(grad, slope) : none, clipped ? grad : none};
}

}  // namespace qat::numerics
