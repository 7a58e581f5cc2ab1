#pragma once
// A histogram of reals that does not depend on the order in which they came.
//
// 1024 bins on either side of 0, each 2^exponent wide: bin 1024 + k holds k·w <= x < (k+1)·w, bin
// 1023 - k the same magnitudes of negative x. The exponent is the smallest that holds the largest
// magnitude seen, and a wider bin is exactly a pair of narrower ones, so the counts are a function
// of the values alone: neither batches, threads nor the order of merging processes leave a trace.
// Zeros are counted apart, because every quantizer represents them exactly.

#include "numerics/arith.h"
#include "numerics/float_order.h"

namespace qat::numerics {

constexpr int32_t kSideBins = 1024;
constexpr int32_t kHistogramBins = 2 * kSideBins;
// Two more counters, so that every float has a place.
constexpr int32_t kZeroSlot = kHistogramBins;
constexpr int32_t kNonFiniteSlot = kHistogramBins + 1;
constexpr int32_t kHistogramSlots = kHistogramBins + 2;

// Here a whole side is as wide as the smallest scale, 2^-40: finer bins could tell nothing.
constexpr int32_t kLowestExponent = -50;
// Here a side ends at 2^128, behind the largest float.
constexpr int32_t kHighestExponent = 118;

// Both are normal floats for every legal exponent.
QAT_INLINE float bin_width(int32_t exponent) { return ldexpf(1.0f, exponent); }
QAT_INLINE float inverse_bin_width(int32_t exponent) { return ldexpf(1.0f, -exponent); }

// The smallest exponent whose bins hold a finite magnitude.
QAT_INLINE int32_t bin_exponent(float magnitude) {
  int exponent = 0;
  frexpf(magnitude, &exponent);  // magnitude < 2^exponent; 0 gives 0
  const int32_t needed = magnitude > 0.0f ? exponent - 10 : kLowestExponent;
  return needed > kLowestExponent ? needed : kLowestExponent;
}

// The slot of any float. Exact: the product only moves the exponent, and where it underflows the
// bin is 0 either way. Written with masks and integers: no branch to mispredict, and a mode that
// takes denormal floats for zero changes nothing.
QAT_INLINE int32_t histogram_slot(float x, float inverse_width) {
  const int32_t bits = float_bits(x), magnitude = bits & 0x7fffffff;
  const int32_t is_zero = -static_cast<int32_t>(magnitude == 0);
  const int32_t is_finite = -static_cast<int32_t>(magnitude < 0x7f800000);
  const auto k = static_cast<int32_t>(mul(from_bits(magnitude & is_finite), inverse_width));
  const int32_t bin = kSideBins + (k ^ (bits >> 31));  // ~k = -1 - k
  const int32_t counted = (bin & ~is_zero) | (kZeroSlot & is_zero);
  return (counted & is_finite) | (kNonFiniteSlot & ~is_finite);
}

// The bin that holds `bin` when bins are 2^doublings times as wide.
QAT_INLINE int32_t wider_bin(int32_t bin, int32_t doublings) {
  const int32_t shift = doublings < 31 ? doublings : 31;
  return ((bin - kSideBins) >> shift) + kSideBins;
}

// counts: kHistogramBins. In place: a bin's place lies between its own and the middle, so each
// side is walked from the middle outwards.
QAT_INLINE void widen_bins(int64_t* counts, int32_t doublings) {
  if (doublings <= 0) return;
  const auto move = [=](int32_t bin) {
    const int32_t to = wider_bin(bin, doublings);
    if (to == bin) return;
    counts[to] += counts[bin];
    counts[bin] = 0;
  };
  for (int32_t k = 0; k < kSideBins; ++k) {
    move(kSideBins + k);
    move(kSideBins - 1 - k);
  }
}

// What a histogram knows, for the searches of histogram_ranges.h. lo, hi: the finite extremes,
// which lie inside the bins; lo > hi where there is no finite value.
struct Histogram {
  const int64_t* counts;
  int32_t exponent = kLowestExponent;
  float lo = INFINITY, hi = -INFINITY;
};

}  // namespace qat::numerics
