#include "kernels/cpu/tile.h"

#include <algorithm>
#include <numeric>

namespace qat::kernels {
namespace {

constexpr int64_t kVector = 64;          // codes in a 512-bit register
constexpr int64_t kFloats = 16;          // floats in one
constexpr int64_t kWantedWidth = 512;    // amortises the start of a loop
constexpr int64_t kLargestWidth = 4096;  // 16 KB per parameter array still shares the L1 cache
constexpr int64_t kBlockElements = 32768;
constexpr int64_t kBlockTiles = 16;
constexpr int64_t kMostBlocks = 256;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

Tile make_tile(int64_t channels) {
  channels = std::max<int64_t>(channels, 1);
  const int64_t unit = channels * (kVector / std::gcd(channels, kVector));
  const int64_t whole = unit * divide_up(kWantedWidth, unit);
  if (whole <= kLargestWidth) return {channels, whole};
  return {channels, channels * std::max<int64_t>(1, kWantedWidth / channels)};
}

Tile make_narrow_tile(int64_t channels) {
  channels = std::max<int64_t>(channels, 1);
  const int64_t whole = channels * (kFloats / std::gcd(channels, kFloats));
  return {channels, whole <= kLargestWidth ? whole : channels};
}

Blocks make_blocks(int64_t elements, const Tile& tile) {
  const int64_t tiles = divide_up(elements, tile.width);
  const int64_t wanted = std::max(kBlockElements / tile.width, kBlockTiles);
  const int64_t size = std::max(wanted, divide_up(tiles, kMostBlocks));
  return {divide_up(tiles, size), size * tile.width};
}

void fold_tile(const double* columns, const Tile& tile, double* channels) {
  std::copy(columns, columns + tile.channels, channels);
  for (int64_t i = tile.channels; i < tile.width; i += tile.channels) {
    for (int64_t c = 0; c < tile.channels; ++c) channels[c] += columns[i + c];
  }
}

}  // namespace qat::kernels
