#pragma once
// Writing finished weight gradients, as inline code: each instruction set compiles its own copy
// (Note [No contraction] in numerics/arith.h).

#include <cstdint>

#include "numerics/arith.h"

namespace qat::kernels {

// One row of weight gradients for all taps.
struct ScatterTile {
  int64_t taps = 0, columns = 0;
  int64_t column_stride = 0;           // elements
  const float* const* from = nullptr;  // sums of each tap
  const int64_t* offsets = nullptr;    // of each tap in the result
  float scale = 0.0f;
};

QAT_INLINE void scatter_body(const ScatterTile& t, float* out) {
  if (t.column_stride == 1) {
    for (int64_t tap = 0; tap < t.taps; ++tap) {
      float* to = out + t.offsets[tap];
      const float* from = t.from[tap];
#pragma omp simd
      for (int64_t j = 0; j < t.columns; ++j) to[j] = numerics::mul(from[j], t.scale);
    }
    return;
  }
  // Taps inside, because they are neighbours in memory where channels are not.
  for (int64_t j = 0; j < t.columns; ++j, out += t.column_stride) {
    for (int64_t tap = 0; tap < t.taps; ++tap) {
      out[t.offsets[tap]] = numerics::mul(t.from[tap][j], t.scale);
    }
  }
}

}  // namespace qat::kernels
