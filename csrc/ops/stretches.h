#pragma once
// How a tensor is cut for sums per tensor or per channel, on any device.

#include <ATen/core/Tensor.h>

#include "kernels/cpu/tile.h"
#include "ops/cpu/elementwise.h"

namespace qat::ops {

// One channel holds a whole stretch (a row of a weight), or channels lie innermost and fill the
// tiles of the only stretch.
struct Stretches {
  int64_t count = 1, length = 0;
  int64_t channels = 1;  // that stretches belong to in turn
  kernels::Tile tile;
  kernels::Blocks blocks;  // of each stretch
};

// Wide enough that the sums of a column are stored long before the next row adds to them.
constexpr int64_t kUniformWidth = 64;

inline Stretches cut(const MemoryLayout& layout, bool uniform) {
  const int64_t total = layout.outer * layout.channels * layout.inner;
  Stretches s;
  s.length = total;
  s.tile = {1, kUniformWidth};
  if (!uniform && layout.inner == 1) {
    s.tile = kernels::make_tile(layout.channels);
  } else if (!uniform) {
    s.count = layout.outer * layout.channels;
    s.length = layout.inner;
    s.channels = layout.channels;
  }
  s.blocks = kernels::make_blocks(s.length, s.tile);
  return s;
}

}  // namespace qat::ops
