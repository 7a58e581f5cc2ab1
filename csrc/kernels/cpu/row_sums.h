#pragma once
// Sums over rows, row by row: memory is read from front to back, which the hardware fetches ahead.
// Passing column by column instead keeps the sums in registers, but takes up to twice as long on
// tensors that come from memory.

#include <algorithm>
#include <type_traits>

#include "kernels/cpu/vector.h"

namespace qat::kernels::QAT_CPU_CAPABILITY {

// Float sums over this many rows, then double: so few float additions err little beside the terms'
// own rounding, and a double for each element would double the time of the pass.
constexpr int64_t kRowsOfSum = 16;

// Columns whose sums share the first-level cache with the rows.
constexpr int64_t kColumnsOfSum = 1024;

template <typename Lanes>
QAT_INLINE void add_to(double* sums, FloatVector terms, Lanes lanes) {
  alignas(kVectorBytes) float each[kLanes];
  store(each, terms);
  if constexpr (std::is_same_v<Lanes, WholeVector>) {
    // GCC 12 adds lane by lane otherwise, which takes longer than the rows above it.
    for (int64_t k = 0; k < kLanes; k += kLanes / 2) {
      HalfVector half;
      DoubleVector sum;
      __builtin_memcpy(&half, each + k, sizeof half);
      __builtin_memcpy(&sum, sums + k, sizeof sum);
      sum += __builtin_convertvector(half, DoubleVector);
      __builtin_memcpy(sums + k, &sum, sizeof sum);
    }
  } else {
    for (int64_t k = 0; k < lanes; ++k) sums[k] += static_cast<double>(each[k]);
  }
}

// Calls run(lanes, j) for the registers that cover the columns from `first` to `last`.
template <typename Run>
QAT_INLINE void for_each_register(int64_t first, int64_t last, Run run) {
  int64_t j = first;
  for (; j + kLanes <= last; j += kLanes) run(WholeVector{}, j);
  if (j < last) run(last - j, j);
}

// The two terms of one register of elements.
struct TwoTerms {
  FloatVector first, second;
};

// Adds the terms(lanes, i, j) of all elements i, in column j, to the column's two sums. Rows are
// `width` elements; the last one may be shorter.
template <typename Terms>
QAT_INLINE void add_rows(int64_t begin, int64_t end, int64_t width, double* first, double* second,
                         Terms terms) {
  // Not 4 KB apart: a load would wait for the store to the other row, whose address ends alike.
  alignas(kVectorBytes) float sums[2][kColumnsOfSum + 64];
  const auto add_group = [&](int64_t i, int64_t from, int64_t to, int64_t rows) {
    std::fill(sums[0], sums[0] + (to - from), 0.0f);
    std::fill(sums[1], sums[1] + (to - from), 0.0f);
    for (int64_t r = 0; r < rows; ++r) {
      for_each_register(from, to, [&](auto lanes, int64_t j) {
        const TwoTerms t = terms(lanes, i + r * width + j, j);
        float *a = sums[0] + (j - from), *b = sums[1] + (j - from);
        store(a, numerics::add(load<FloatVector>(a, lanes), t.first), lanes);
        store(b, numerics::add(load<FloatVector>(b, lanes), t.second), lanes);
      });
    }
    for_each_register(from, to, [&](auto lanes, int64_t j) {
      add_to(first + j, load<FloatVector>(sums[0] + (j - from), lanes), lanes);
      add_to(second + j, load<FloatVector>(sums[1] + (j - from), lanes), lanes);
    });
  };
  for (int64_t i = begin; i < end;) {
    const int64_t whole = std::min((end - i) / width, kRowsOfSum);
    const int64_t rows = std::max<int64_t>(whole, 1);
    const int64_t length = whole == 0 ? end - i : width;
    for (int64_t from = 0; from < length; from += kColumnsOfSum) {
      add_group(i, from, std::min(from + kColumnsOfSum, length), rows);
    }
    i += rows * length;
  }
}

}  // namespace qat::kernels::QAT_CPU_CAPABILITY
