#pragma once
// Rule 8 of docs/numerics.md: activations that are piecewise polynomials, one expression each.

#include "numerics/arith.h"

namespace qat::numerics {

// The names double as the spelling in checkpoints. p0, p1 are the parameters:
//   clamp: lower and upper bound; leaky_relu: negative slope; others: unused.
// prelu is leaky_relu with one slope per channel.
enum class ActivationKind : int32_t {
  none = 0,
  relu = 1,
  clamp = 2,
  leaky_relu = 3,
  hardswish = 4,
  hardsigmoid = 5,
};

struct Activation {
  ActivationKind kind = ActivationKind::none;
  float p0 = 0.0f;
  float p1 = 0.0f;
  constexpr bool operator==(const Activation&) const = default;
};

constexpr float kOneSixth = 0x1.555556p-3f;

QAT_INLINE float hard_gate(float v) { return clamp(add(v, 3.0f), 0.0f, 6.0f); }

template <ActivationKind kind>
QAT_INLINE float activate(float v, float p0, float p1) {
  if constexpr (kind == ActivationKind::relu) return v < 0.0f ? 0.0f : v;
  if constexpr (kind == ActivationKind::clamp) return clamp(v, p0, p1);
  if constexpr (kind == ActivationKind::leaky_relu) return v < 0.0f ? mul(v, p0) : v;
  if constexpr (kind == ActivationKind::hardswish) return mul(mul(v, hard_gate(v)), kOneSixth);
  if constexpr (kind == ActivationKind::hardsigmoid) return mul(hard_gate(v), kOneSixth);
  return v;
}

// d activate / d v, one-sided values at the kinks as torch's own backward formulas have them.
template <ActivationKind kind>
QAT_INLINE float activation_slope(float v, float p0, float p1) {
  if constexpr (kind == ActivationKind::relu) return v > 0.0f ? 1.0f : 0.0f;
  if constexpr (kind == ActivationKind::clamp) return v > p0 && v < p1 ? 1.0f : 0.0f;
  if constexpr (kind == ActivationKind::leaky_relu) return v > 0.0f ? 1.0f : p0;
  if constexpr (kind == ActivationKind::hardswish) {
    if (v <= -3.0f) return 0.0f;
    return v < 3.0f ? add(mul(v, 1.0f / 3.0f), 0.5f) : 1.0f;
  }
  if constexpr (kind == ActivationKind::hardsigmoid) {
    return v > -3.0f && v < 3.0f ? kOneSixth : 0.0f;
  }
  return 1.0f;
}

// The same two with the kind known only at run time.
QAT_INLINE float activate(Activation a, float v) {
  switch (a.kind) {
    case ActivationKind::relu:
      return activate<ActivationKind::relu>(v, a.p0, a.p1);
    case ActivationKind::clamp:
      return activate<ActivationKind::clamp>(v, a.p0, a.p1);
    case ActivationKind::leaky_relu:
      return activate<ActivationKind::leaky_relu>(v, a.p0, a.p1);
    case ActivationKind::hardswish:
      return activate<ActivationKind::hardswish>(v, a.p0, a.p1);
    case ActivationKind::hardsigmoid:
      return activate<ActivationKind::hardsigmoid>(v, a.p0, a.p1);
    case ActivationKind::none:
      break;
  }
  return v;
}

}  // namespace qat::numerics
