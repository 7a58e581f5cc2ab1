// Smallest and largest finite elements.

#include "kernels/cpu/capability.h"
#include "kernels/cpu/range_keys.h"

namespace qat::kernels::QAT_CPU_CAPABILITY {

void range(const float* x, int64_t n, RangeKeys* keys) {
  RangeKeys seen;
  for (int64_t i = 0; i < n; ++i) include(seen, x[i]);
  merge(*keys, seen);
}

void range_per_channel(const float* x, int64_t n, int64_t width, int32_t* __restrict minimum,
                       int32_t* __restrict maximum) {
  for (int64_t i = 0; i < n; i += width) {
    const int64_t m = n - i < width ? n - i : width;
    const float* __restrict in = x + i;
    for (int64_t j = 0; j < m; ++j) include(minimum[j], maximum[j], in[j]);
  }
}

float absmax(const float* x, int64_t n) {
  constexpr int32_t kInfinity = 0x7f800000;
  int32_t largest = 0;  // magnitudes order as their bits do
  for (int64_t i = 0; i < n; ++i) {
    const int32_t magnitude = float_bits(x[i]) & 0x7fffffff;
    const int32_t counted = select(magnitude <= kInfinity, magnitude, 0);
    largest = counted > largest ? counted : largest;
  }
  return numerics::float_at(largest);
}

}  // namespace qat::kernels::QAT_CPU_CAPABILITY
