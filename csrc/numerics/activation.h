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

// Note [Vectors] holds for what follows.
template <typename Reals>
QAT_INLINE Reals hard_gate(Reals v) {
  return clamp(add(v, splat<Reals>(3.0f)), splat<Reals>(0.0f), splat<Reals>(6.0f));
}

template <ActivationKind kind, typename Reals>
QAT_INLINE Reals activate(Reals v, Reals p0, Reals p1) {
  const auto sixth = splat<Reals>(kOneSixth);
  if constexpr (kind == ActivationKind::relu) return v < 0.0f ? splat<Reals>(0.0f) : v;
  if constexpr (kind == ActivationKind::clamp) return clamp(v, p0, p1);
  if constexpr (kind == ActivationKind::leaky_relu) return v < 0.0f ? mul(v, p0) : v;
  if constexpr (kind == ActivationKind::hardswish) return mul(mul(v, hard_gate(v)), sixth);
  if constexpr (kind == ActivationKind::hardsigmoid) return mul(hard_gate(v), sixth);
  return v;
}

// d activate / d v, one-sided values at the kinks as torch's own backward formulas have them.
template <ActivationKind kind, typename Reals>
QAT_INLINE Reals activation_slope(Reals v, Reals p0, Reals p1) {
  const auto zero = splat<Reals>(0.0f), one = splat<Reals>(1.0f);
  if constexpr (kind == ActivationKind::relu) return v > 0.0f ? one : zero;
  if constexpr (kind == ActivationKind::clamp) return (v > p0) & (v < p1) ? one : zero;
  if constexpr (kind == ActivationKind::leaky_relu) return v > 0.0f ? one : p0;
  if constexpr (kind == ActivationKind::hardswish) {
    const Reals ramp = add(mul(v, splat<Reals>(1.0f / 3.0f)), splat<Reals>(0.5f));
    const Reals above = v < 3.0f ? ramp : one;
    return v <= -3.0f ? zero : above;
  }
  if constexpr (kind == ActivationKind::hardsigmoid) {
    return (v > -3.0f) & (v < 3.0f) ? splat<Reals>(kOneSixth) : zero;
  }
  return one;
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
