#pragma once
// Floats as integers of the same order.

#include <cstdint>
#include <cstring>

#include "kernels/cpu/kernels.h"

namespace qat::kernels {

QAT_INLINE int32_t float_bits(float x) {
  int32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}

QAT_INLINE bool is_finite(int32_t bits) { return (bits & 0x7f800000) != 0x7f800000; }

// Negative floats order backwards as integers: flip their magnitude. Its own inverse.
QAT_INLINE int32_t order_key(int32_t bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }

QAT_INLINE float from_bits(int32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}

QAT_INLINE float from_order_key(int32_t key) { return from_bits(order_key(key)); }

// Written with masks: GCC 12 does not vectorise a minimum whose operand is a conditional
// (0.8 instead of 0.1 ns per element).
QAT_INLINE int32_t select(bool condition, int32_t yes, int32_t no) {
  const int32_t mask = -static_cast<int32_t>(condition);
  return (yes & mask) | (no & ~mask);
}

// Widens the range by x where x is finite.
QAT_INLINE void include(int32_t& minimum, int32_t& maximum, float x) {
  const int32_t bits = float_bits(x), key = order_key(bits);
  const int32_t low = select(is_finite(bits), key, INT32_MAX);
  const int32_t high = select(is_finite(bits), key, INT32_MIN);
  minimum = low < minimum ? low : minimum;
  maximum = high > maximum ? high : maximum;
}

QAT_INLINE void include(RangeKeys& keys, float x) { include(keys.minimum, keys.maximum, x); }

// Widens the range by any x, at half the cost. Infinities and NaN lie outside the finite keys, so
// that holds_only_finite() tells afterwards whether one was there.
QAT_INLINE void include_any(RangeKeys& keys, float x) {
  const int32_t key = order_key(float_bits(x));
  keys.minimum = key < keys.minimum ? key : keys.minimum;
  keys.maximum = key > keys.maximum ? key : keys.maximum;
}

QAT_INLINE bool holds_only_finite(const RangeKeys& keys) {
  return keys.minimum > order_key(static_cast<int32_t>(0xff800000)) && keys.maximum < 0x7f800000;
}

QAT_INLINE void merge(RangeKeys& into, const RangeKeys& other) {
  into.minimum = other.minimum < into.minimum ? other.minimum : into.minimum;
  into.maximum = other.maximum > into.maximum ? other.maximum : into.maximum;
}

// True where at least one finite value was seen.
QAT_INLINE bool is_set(const RangeKeys& keys) { return keys.minimum <= keys.maximum; }

}  // namespace qat::kernels
