#pragma once
// Rule 15 of docs/numerics.md: weights with a factor and a zero point for each group. Both end up
// in int8 codes, so that what multiplies and sums codes knows nothing of groups.

#include "numerics/qparams.h"

namespace qat::numerics {

// The layout of a row of weights in groups of `size`; the last one may be shorter.
struct GroupLayout {
  int64_t count = 1, size = 0;
};

// Of a row in `count` groups.
QAT_INLINE int64_t group_size(int64_t row, int64_t count) { return (row + count - 1) / count; }

// Groups of at most `wanted` weights, as even as can be: a file that says how many there are says
// how long they are.
QAT_INLINE GroupLayout group_layout(int64_t row, int64_t wanted) {
  const int64_t count = row > wanted ? (row + wanted - 1) / wanted : 1;
  return {count, group_size(row, count)};
}

// The largest factor with which every code minus zero point of the format fits kInt8Narrow.
QAT_INLINE int32_t largest_factor(IntFormat format) {
  const int32_t below = format.is_signed ? -format.quant_min() : 0;
  const int32_t above = format.quant_max();
  return kInt8Narrow.quant_max() / (below > above ? below : above);
}

// What a group would have as its scale on its own.
QAT_INLINE float group_scale(float lo, float hi, IntFormat format) {
  const Symmetry symmetry = format.is_signed ? Symmetry::symmetric : Symmetry::affine;
  return choose_qparams(lo, hi, format, symmetry, false).scale;
}

// The scale that the groups of a channel share. largest: of their own scales.
QAT_INLINE float shared_scale(float largest, int32_t most, bool power_of_two) {
  return finish_scale(divide(largest, to_float(most)), power_of_two);
}

struct WeightGroup {
  float scale = 1.0f;  // of one step of q
  int32_t factor = 1, zero_point = 0;
};

// own: group_scale(lo, hi, format). Rounded up, the factor clips nothing.
QAT_INLINE WeightGroup weight_group(float lo, float own, float shared, int32_t most,
                                    IntFormat format) {
  const float steps = clamp(std::ceil(divide(own, shared)), 1.0f, to_float(most));
  const float scale = mul(shared, steps);
  if (format.is_signed) return {scale, static_cast<int32_t>(steps), 0};
  const float negative = lo < 0.0f ? lo : 0.0f;
  const float zero_point = affine_zero_point(negative, scale, format);
  return {scale, static_cast<int32_t>(steps), static_cast<int32_t>(zero_point)};
}

}  // namespace qat::numerics
