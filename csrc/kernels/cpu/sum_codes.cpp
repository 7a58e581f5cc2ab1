#include "kernels/cpu/sum_codes.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "kernels/cpu/kernels.h"
#include "numerics/arith.h"

namespace qat::kernels {
namespace {

// Their sums stay in registers, or at least in the first-level cache.
constexpr int64_t kColumns = 64;
// 2^23 codes of magnitude below 2^8 fit 32 bits.
constexpr int64_t kLongestSum = int64_t{1} << 23;

struct Columns {
  const uint8_t* codes;
  int64_t stride, positions, count;
};

template <typename T>
QAT_INLINE void add_columns(const Columns& c, int32_t* sums) {
  std::array<int32_t, kColumns> total{};
  for (int64_t p = 0; p < c.positions; ++p) {
    const T* row = reinterpret_cast<const T*>(c.codes) + p * c.stride;
    for (int64_t k = 0; k < kColumns; ++k) total[static_cast<size_t>(k)] += row[k];
  }
  std::copy(total.begin(), total.end(), sums);
}

template <typename T>
QAT_INLINE void add_fewer(const Columns& c, int32_t* sums) {
  std::fill(sums, sums + c.count, 0);
  for (int64_t p = 0; p < c.positions; ++p) {
    const T* row = reinterpret_cast<const T*>(c.codes) + p * c.stride;
    for (int64_t k = 0; k < c.count; ++k) sums[k] += row[k];
  }
}

template <typename T>
QAT_INLINE void add(const Columns& c, int32_t* sums) {
  c.count == kColumns ? add_columns<T>(c, sums) : add_fewer<T>(c, sums);
}

QAT_INLINE void add_any(const Columns& c, bool is_signed, int32_t* sums) {
  is_signed ? add<int8_t>(c, sums) : add<uint8_t>(c, sums);
}

using Add = void (*)(const Columns&, bool is_signed, int32_t* sums);

void add_generic(const Columns& c, bool is_signed, int32_t* sums) { add_any(c, is_signed, sums); }

#if defined(__x86_64__)
__attribute__((target("avx2"))) void add_avx2(const Columns& c, bool is_signed, int32_t* sums) {
  add_any(c, is_signed, sums);
}

__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,prefer-vector-width=512"))) void
add_avx512(const Columns& c, bool is_signed, int32_t* sums) {
  add_any(c, is_signed, sums);
}
#endif

// QAT_CPU_CAPABILITY chooses here too.
Add chosen() {
#if defined(__x86_64__)
  const std::string_view name = kernels().name;
  if (name == "avx512") return &add_avx512;
  if (name == "avx2") return &add_avx2;
#endif
  return &add_generic;
}

}  // namespace

void sum_codes(const uint8_t* codes, bool is_signed, int64_t positions, int64_t channels,
               int64_t* sums) {
  static const Add add = chosen();
  std::fill(sums, sums + channels, 0);
  std::array<int32_t, kColumns> part;
  for (int64_t first = 0; first < positions; first += kLongestSum) {
    const int64_t length = std::min(kLongestSum, positions - first);
    for (int64_t c = 0; c < channels; c += kColumns) {
      const int64_t count = std::min(kColumns, channels - c);
      add({codes + first * channels + c, channels, length, count}, is_signed, part.data());
      for (int64_t k = 0; k < count; ++k) sums[c + k] += part[static_cast<size_t>(k)];
    }
  }
}

}  // namespace qat::kernels
