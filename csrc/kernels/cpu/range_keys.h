#pragma once
// Ranges as keys: floats as integers of the same order.

#include <cstdint>

#include "kernels/cpu/kernels.h"
#include "numerics/float_order.h"

namespace qat::kernels {

using numerics::float_bits;
using numerics::from_bits;

QAT_INLINE bool is_finite(int32_t bits) { return (bits & 0x7f800000) != 0x7f800000; }

// Written with masks: GCC 12 does not vectorise a minimum whose operand is a conditional
// (0.8 instead of 0.1 ns per element).
QAT_INLINE int32_t select(bool condition, int32_t yes, int32_t no) {
  const int32_t mask = -static_cast<int32_t>(condition);
  return (yes & mask) | (no & ~mask);
}

// Widens the range by x where x is finite.
QAT_INLINE void include(int32_t& minimum, int32_t& maximum, float x) {
  const int32_t bits = float_bits(x), key = numerics::flip_negative(bits);
  const int32_t low = select(is_finite(bits), key, INT32_MAX);
  const int32_t high = select(is_finite(bits), key, INT32_MIN);
  minimum = low < minimum ? low : minimum;
  maximum = high > maximum ? high : maximum;
}

QAT_INLINE void include(RangeKeys& keys, float x) { include(keys.minimum, keys.maximum, x); }

// Widens the range by any x, at half the cost. Infinities and NaN lie outside the finite keys, so
// that holds_only_finite() tells afterwards whether one was there.
QAT_INLINE void include_any(RangeKeys& keys, float x) {
  const int32_t key = numerics::rank_of(x);
  keys.minimum = key < keys.minimum ? key : keys.minimum;
  keys.maximum = key > keys.maximum ? key : keys.maximum;
}

QAT_INLINE bool holds_only_finite(const RangeKeys& keys) {
  return keys.minimum > numerics::flip_negative(static_cast<int32_t>(0xff800000)) &&
         keys.maximum < 0x7f800000;
}

QAT_INLINE void merge(RangeKeys& into, const RangeKeys& other) {
  into.minimum = other.minimum < into.minimum ? other.minimum : into.minimum;
  into.maximum = other.maximum > into.maximum ? other.maximum : into.maximum;
}

// True where at least one finite value was seen.
QAT_INLINE bool is_set(const RangeKeys& keys) { return keys.minimum <= keys.maximum; }

}  // namespace qat::kernels
