#pragma once
// Rule 13 of docs/numerics.md: quantizers whose scale and zero point are learned.

#include "numerics/quantize.h"

namespace qat::numerics {

// The code of a learned zero point; NaN gives quant_min.
QAT_INLINE float learned_zero_code(float zero_point, float quant_min, float quant_max) {
  const float code = clamp(round_half_even(zero_point), quant_min, quant_max);
  return code == code ? code : quant_min;
}

// What one element's gradient contributes to those of the parameters. `zero_point` is to be
// multiplied by -scale.
template <typename Reals>
struct LearnedTerms {
  Reals scale, zero_point;
};

// grad: of the result; product: x * inverse_scale; code: of x, before and after clamping equal
// where `passes`; NaN in x contributes nothing.
template <typename Reals, typename Truth>
QAT_INLINE LearnedTerms<Reals> learned_terms(Reals grad, Reals product, Reals code, Reals zero_code,
                                             Truth passes) {
  const Reals none{};
  const Reals centred = add(code, -zero_code);
  const Reals slope = passes ? add(centred, -product) : centred;
  const Truth clipped = (!passes) & (product == product);
  return {product == product ? mul(grad, slope) : none, clipped ? grad : none};
}

}  // namespace qat::numerics
