#pragma once
// How a block of rows and columns is divided into the tiles that a table of kernels has.

#include <cstdint>

namespace qat::kernels {

// Calls tile(first column, vectors, first row, last row) on the tiles of a block. Kernels: lanes,
// max_vectors and max_rows of either kind of products.
template <typename Kernels, typename Body>
void for_tiles(const Kernels& kernels, int64_t rows, int64_t width, const Body& tile) {
  for (int64_t column = 0; column < width;) {
    const int64_t left = (width - column) / kernels.lanes;
    const auto vectors = static_cast<int>(left < kernels.max_vectors ? left : kernels.max_vectors);
    const int64_t most = kernels.max_rows[vectors], tiles = (rows + most - 1) / most;
    for (int64_t i = 0; i < tiles; ++i) {
      tile(column, vectors, rows * i / tiles, rows * (i + 1) / tiles);
    }
    column += vectors * kernels.lanes;
  }
}

}  // namespace qat::kernels
