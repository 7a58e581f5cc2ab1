#include "kernels/cpu/sum_codes.h"

#include <algorithm>
#include <array>

#if defined(__x86_64__)
#define QAT_CLONES __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#else
#define QAT_CLONES
#endif

namespace qat::kernels {
namespace {

// Their sums stay in registers, or at least in the first-level cache.
constexpr int64_t kColumns = 64;
// 2^23 codes of magnitude 2^8 fit 32 bits.
constexpr int64_t kLongestSum = int64_t{1} << 22;

template <typename T>
inline void add_columns(const T* codes, int64_t stride, int64_t positions, int32_t* sums) {
  std::array<int32_t, kColumns> total{};
  for (int64_t p = 0; p < positions; ++p) {
    const T* row = codes + p * stride;
    for (int64_t c = 0; c < kColumns; ++c) total[static_cast<size_t>(c)] += row[c];
  }
  std::copy(total.begin(), total.end(), sums);
}

template <typename T>
inline void add_rest(const T* codes, int64_t stride, int64_t positions, int64_t columns,
                     int32_t* sums) {
  std::fill(sums, sums + columns, 0);
  for (int64_t p = 0; p < positions; ++p) {
    const T* row = codes + p * stride;
    for (int64_t c = 0; c < columns; ++c) sums[c] += row[c];
  }
}

QAT_CLONES void add_unsigned(const uint8_t* codes, int64_t stride, int64_t positions,
                             int64_t columns, int32_t* sums) {
  columns == kColumns ? add_columns(codes, stride, positions, sums)
                      : add_rest(codes, stride, positions, columns, sums);
}

QAT_CLONES void add_signed(const int8_t* codes, int64_t stride, int64_t positions, int64_t columns,
                           int32_t* sums) {
  columns == kColumns ? add_columns(codes, stride, positions, sums)
                      : add_rest(codes, stride, positions, columns, sums);
}

}  // namespace

void sum_codes(const uint8_t* codes, bool is_signed, int64_t positions, int64_t channels,
               int64_t* sums) {
  std::fill(sums, sums + channels, 0);
  std::array<int32_t, kColumns> part;
  for (int64_t first = 0; first < positions; first += kLongestSum) {
    const int64_t length = std::min(kLongestSum, positions - first);
    for (int64_t c = 0; c < channels; c += kColumns) {
      const int64_t columns = std::min(kColumns, channels - c);
      const uint8_t* from = codes + first * channels + c;
      if (is_signed) {
        add_signed(reinterpret_cast<const int8_t*>(from), channels, length, columns, part.data());
      } else {
        add_unsigned(from, channels, length, columns, part.data());
      }
      for (int64_t k = 0; k < columns; ++k) sums[c + k] += part[static_cast<size_t>(k)];
    }
  }
}

}  // namespace qat::kernels
