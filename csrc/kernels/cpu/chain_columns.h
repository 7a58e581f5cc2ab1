#pragma once
// A chain read column by column: the per-channel parameters of one register of channels stay in
// registers while the rows pass by. In loops along a row each element loads seven parameters, which
// takes longer than the element's own two loads.

#include "kernels/cpu/chain_stages.h"
#include "kernels/cpu/row_sums.h"

namespace qat::kernels::QAT_CPU_CAPABILITY {

// Rows that pass before the next register of channels begins: few enough for the second-level
// cache to hold them at the widest tile.
constexpr int64_t kRowsOfColumn = kRowsOfSum;

// Calls run(lanes, i, j, rows): lanes (a WholeVector, or an int64_t below kLanes) channels from j
// on, whose elements begin at i, i + width, ... The order of rows within a column is ascending.
template <typename Run>
QAT_INLINE void for_each_column(int64_t begin, int64_t end, int64_t width, Run run) {
  const auto columns = [&](int64_t i, int64_t length, int64_t rows) {
    int64_t j = 0;
    for (; j + kLanes <= length; j += kLanes) run(WholeVector{}, i + j, j, rows);
    if (j < length) run(length - j, i + j, j, rows);
  };
  int64_t i = begin;
  while (i + width <= end) {
    const int64_t left = (end - i) / width;
    const int64_t rows = left < kRowsOfColumn ? left : kRowsOfColumn;
    columns(i, width, rows);
    i += rows * width;
  }
  if (i < end) columns(i, end - i, 1);
}

// Rows that lie this far ahead are fetched while a column passes: the hardware follows no stride.
// 32 KB, two thirds off the time of a pass over 13 MB.
constexpr int64_t kFetchAhead = 8192;

template <typename T>
QAT_INLINE void prefetch(const T* at) {
  __builtin_prefetch(at + kFetchAhead);
}

// How the residual is read; both types of codes are one case.
enum class ResidualForm { none, float32, codes };

template <typename Run>
QAT_INLINE void with_residual(ResidualType type, Run run) {
  switch (type) {
    case ResidualType::none:
      return run.template operator()<ResidualForm::none>();
    case ResidualType::float32:
      return run.template operator()<ResidualForm::float32>();
    case ResidualType::uint8:
    case ResidualType::int8:
      return run.template operator()<ResidualForm::codes>();
  }
}

// acc * multiplier + bias + residual of one column.
template <ResidualForm residual, typename Lanes>
struct ColumnValues {
  ColumnValues(const Chain& chain, int64_t j, Lanes count)
      : lanes(count),
        operand(static_cast<const uint8_t*>(chain.residual)),
        multiplier(load<FloatVector>(chain.multiplier + j, lanes)),
        bias(load<FloatVector>(chain.bias + j, lanes)) {
    if constexpr (residual == ResidualForm::codes) {
      // A signed code is the unsigned one with its top bit flipped, less 128.
      const bool is_signed = chain.residual_type == ResidualType::int8;
      flip = IntVector{} + (is_signed ? 128 : 0);
      scale = load<FloatVector>(chain.residual_scale + j, lanes);
      zero_point = load<IntVector>(chain.residual_zero_point + j, lanes) + flip;
    }
  }

  __attribute__((always_inline)) FloatVector at(FloatVector acc, int64_t i) const {
    const FloatVector value = numerics::real_value(acc, multiplier, bias);
    if constexpr (residual == ResidualForm::float32) {
      const auto* from = reinterpret_cast<const float*>(operand) + i;
      return numerics::add(value, load<FloatVector>(from, lanes));
    }
    if constexpr (residual == ResidualForm::codes) {
      const IntVector codes = load_codes(operand + i, lanes) ^ flip;
      return numerics::add(value, numerics::dequantize(codes, zero_point, scale));
    }
    return value;
  }

  Lanes lanes;
  const uint8_t* operand;
  FloatVector multiplier, bias, scale{};
  IntVector zero_point{}, flip{};
};

}  // namespace qat::kernels::QAT_CPU_CAPABILITY
