#pragma once
// Rules 2 and 3 of docs/numerics.md on one register. The code is clamped before it is rounded: the
// ends are integers, so the two commute, and the conversion to integers rounds for free.

#include "kernels/cpu/intrinsics.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/vector.h"
#include "numerics/quantize.h"

namespace qat::kernels::QAT_CPU_CAPABILITY {

// To the nearest integers, ties to even. |v| < 2^31.
QAT_INLINE IntVector to_nearest(FloatVector v) {
#if defined(__AVX512F__)
  return reinterpret_cast<IntVector>(_mm512_cvtps_epi32(v));
#elif defined(__AVX__)
  return reinterpret_cast<IntVector>(_mm256_cvtps_epi32(v));
#elif defined(__SSE2__)
  return reinterpret_cast<IntVector>(_mm_cvtps_epi32(v));
#elif defined(__aarch64__)
  return reinterpret_cast<IntVector>(vcvtnq_s32_f32(v));
#else
  IntVector nearest{};
  for (int64_t k = 0; k < kLanes; ++k) {
    nearest[k] = static_cast<int32_t>(numerics::round_half_even(v[k]));
  }
  return nearest;
#endif
}

QAT_INLINE FloatVector to_floats(IntVector v) { return __builtin_convertvector(v, FloatVector); }

// The least number that rounds to `end` or more, an integer: ties go to even.
QAT_INLINE float least_rounding_to(float end) {
  const float tie = end - 0.5f;
  return static_cast<int32_t>(end) % 2 == 0 ? tie : std::nextafter(tie, end);
}

// The ends of the codes, for all elements. To be made outside of the loops.
struct CodeEnds {
  explicit CodeEnds(const Quantizer& q)
      : quant_min(numerics::splat<FloatVector>(q.quant_min)),
        quant_max(numerics::splat<FloatVector>(q.quant_max)),
        first(numerics::splat<FloatVector>(least_rounding_to(q.quant_min))),
        last(numerics::splat<FloatVector>(-least_rounding_to(-q.quant_max))) {}

  FloatVector quant_min, quant_max;
  FloatVector first, last;  // the positions that round to a legal code
};

// The parameters of one register of elements.
struct CodeVectors {
  template <typename Lanes>
  CodeVectors(const Quantizer& q, const CodeEnds& ends_of_q, int64_t j, Lanes lanes)
      : scale(load<FloatVector>(q.scale + j, lanes)),
        inverse_scale(load<FloatVector>(q.inverse_scale + j, lanes)),
        zero_point(load<IntVector>(q.zero_point + j, lanes)),
        zero_code(to_floats(zero_point)),
        ends(ends_of_q) {}

  // One parameter for all elements.
  CodeVectors(const Quantizer& q, const CodeEnds& ends_of_q)
      : scale(numerics::splat<FloatVector>(*q.scale)),
        inverse_scale(numerics::splat<FloatVector>(*q.inverse_scale)),
        zero_point(IntVector{} + *q.zero_point),
        zero_code(to_floats(zero_point)),
        ends(ends_of_q) {}

  // The code before rounding and clamping.
  __attribute__((always_inline)) FloatVector position(FloatVector x) const {
    return numerics::add(numerics::mul(x, inverse_scale), zero_code);
  }

  __attribute__((always_inline)) IntVector quantize(FloatVector x) const {
    const FloatVector at = position(x);
    const FloatVector legal = numerics::clamp(at, ends.quant_min, ends.quant_max);
    return to_nearest(at != at ? zero_code : legal);
  }

  // Rule 4, as lanes of all ones or zeros.
  __attribute__((always_inline)) IntVector passes(FloatVector x) const {
    const FloatVector at = position(x);
    return (at >= ends.first) & (at <= ends.last);
  }

  __attribute__((always_inline)) FloatVector dequantize(IntVector codes) const {
    return numerics::dequantize(codes, zero_point, scale);
  }

  FloatVector scale, inverse_scale;
  IntVector zero_point;
  FloatVector zero_code;
  const CodeEnds& ends;  // a copy would be written to the stack for each register
};

}  // namespace qat::kernels::QAT_CPU_CAPABILITY
