#pragma once
// Filling a Kernels table with every size of the two tile templates.

#include <utility>

#include "kernels/cpu/conv_backward_s16_kernels.h"

namespace qat::kernels::s16 {

template <template <int, int> class Tiles, int vectors, int... rows>
constexpr void fill_tiles(Kernels& kernels, std::integer_sequence<int, rows...>) {
  ((kernels.data_tile[vectors][rows + 1] = &Tiles<rows + 1, vectors>::data), ...);
  ((kernels.weight_tile[vectors][rows + 1] = &Tiles<rows + 1, vectors>::weight), ...);
}

// Tiles of 1 to max_rows rows.
template <template <int, int> class Tiles, int vectors, int max_rows>
constexpr void fill_tiles(Kernels& kernels) {
  kernels.max_rows[vectors] = max_rows;
  fill_tiles<Tiles, vectors>(kernels, std::make_integer_sequence<int, max_rows>{});
}

}  // namespace qat::kernels::s16
