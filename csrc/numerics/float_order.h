#pragma once
// Floats as integers of the same order.

#include <cstdint>

#include "numerics/arith.h"

namespace qat::numerics {

QAT_INLINE int32_t float_bits(float x) {
  int32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}

QAT_INLINE float from_bits(int32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}

// Negative floats order backwards as integers: flip their magnitude. Its own inverse.
QAT_INLINE int32_t flip_negative(int32_t bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }

// -0 ranks one below +0.
QAT_INLINE int32_t rank_of(float x) { return flip_negative(float_bits(x)); }
QAT_INLINE float float_at(int32_t rank) { return from_bits(flip_negative(rank)); }

}  // namespace qat::numerics
