#pragma once
// Filling a Kernels table with every size of a tile template.

#include <utility>

#include "kernels/cpu/gemm_u8s8.h"

namespace qat::kernels::u8s8 {

template <template <int, int> class TileOf, int vectors, int... rows>
constexpr void fill_tiles(Kernels& kernels, std::integer_sequence<int, rows...>) {
  ((kernels.tile[vectors][rows + 1] = &TileOf<rows + 1, vectors>::run), ...);
}

// Tiles of 1 to max_rows rows.
template <template <int, int> class TileOf, int vectors, int max_rows>
constexpr void fill_tiles(Kernels& kernels) {
  fill_tiles<TileOf, vectors>(kernels, std::make_integer_sequence<int, max_rows>{});
}

}  // namespace qat::kernels::u8s8
