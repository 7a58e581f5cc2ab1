#pragma once
// Rules 7 and 9 of docs/numerics.md: integer accumulator -> real value, and batch-norm folding.

#include "numerics/arith.h"

namespace qat::numerics {

// Two roundings after the conversion: acc * multiplier, then + bias.
template <typename Reals>
QAT_INLINE Reals real_value(Reals acc, Reals multiplier, Reals bias) {
  return add(mul(acc, multiplier), bias);
}

QAT_INLINE float multiplier(float input_scale, float weight_scale) {
  return mul(input_scale, weight_scale);
}

// What batch norm makes of v = acc * multiplier + bias: acc * folded.multiplier + folded.bias.
struct FoldedAffine {
  float multiplier;
  float bias;
};

struct BatchNormChannel {
  float gamma;
  float beta;
  float mean;
  float variance;
};

QAT_INLINE float batch_norm_gain(BatchNormChannel bn, float eps) {
  return mul(bn.gamma, divide(1.0f, square_root(add(bn.variance, eps))));
}

QAT_INLINE FoldedAffine fold_batch_norm(float multiplier, float bias, BatchNormChannel bn,
                                        float eps) {
  const float gain = batch_norm_gain(bn, eps);
  return {mul(multiplier, gain), add(bn.beta, mul(add(bias, -bn.mean), gain))};
}

// Mean of n integer codes: the exact centred sum times scale / n (rule 10).
QAT_INLINE float average(int64_t centred_sum, float scale, int64_t n) {
  return mul(to_float(centred_sum), divide(scale, to_float(n)));
}

}  // namespace qat::numerics
