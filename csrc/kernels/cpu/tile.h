#pragma once
// Per-channel parameters repeated to tiles (Note [Tiles]), and the fixed blocks of a reduction.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace qat::kernels {

struct Tile {
  int64_t channels = 1;
  int64_t width = 1;  // a multiple of channels
};

Tile make_tile(int64_t channels);
// For loops down the columns: the narrowest tile of whole registers, so that successive rows lie
// close together.
Tile make_narrow_tile(int64_t channels);

// `values` holds one entry or tile.channels entries; null gives `otherwise` everywhere.
template <typename T>
std::vector<T> repeat(const T* values, int64_t count, T otherwise, const Tile& tile) {
  if (values == nullptr || count == 1) {
    return std::vector<T>(static_cast<size_t>(tile.width), values ? *values : otherwise);
  }
  std::vector<T> out;
  out.reserve(static_cast<size_t>(tile.width));
  for (int64_t i = 0; i < tile.width; i += tile.channels) {
    out.insert(out.end(), values, values + tile.channels);
  }
  return out;
}

// Note [Fixed summation order]
// A sum over rows is: blocks of rows whose size depends on the shape alone; inside a block each
// column of the tile is summed from top to bottom, 16 rows at a time in float, these in double (an
// unfinished last row is on its own); then the columns of a channel, then the blocks, each in
// ascending order. Neither threads nor vector lanes enter: the result is the same bits everywhere.
struct Blocks {
  int64_t count = 0;
  int64_t elements = 0;  // of each block but the last; a multiple of the tile's width
};

Blocks make_blocks(int64_t elements, const Tile& tile);

// Adds the columns of one block to one partial sum per channel.
void fold_tile(const double* columns, const Tile& tile, double* channels);

}  // namespace qat::kernels
