#pragma once
// How the sums of a weight gradient are split over threads and written, whatever the products are.

#include <algorithm>

#include "kernels/cpu/conv_backward.h"
#include "kernels/cpu/conv_backward_scatter.h"

namespace qat::kernels {

// Parts of `chunks` partial sums that are added apart: enough work to keep the threads busy where
// there are few tiles. Depends on the shape alone.
int64_t count_segments(int64_t tiles, int64_t chunks);

struct WeightSums {
  int64_t segments = 1, tiles = 0;
  int64_t tile_floats = 0;  // of the largest one
};

struct WeightOutput {
  float* d_weight = nullptr;
  const std::array<int64_t, 4>& strides;
  float scale = 0.0f;
};

// The sums of one tile, [tap / merged][row][column].
struct WeightBlock {
  const ConvShape& shape;
  bool rows_are_grad = true;
  int64_t merged = 1;  // taps of one kernel row that are rows of the tile
  const Block& rows;
  const Block& columns;

  int64_t floats() const {
    return shape.kernel[0] * shape.kernel[1] / merged * rows.count * columns.width;
  }
};

// Scales the sums of a tile and writes them where the weight's strides say.
void write_weight_block(const WeightBlock& block, const float* acc, const WeightOutput& out,
                        void (*scatter)(const ScatterTile&, float*));

// Calls run(segment, tile, acc) for the sums of every segment of every tile, adds a tile's segments
// in their order, and calls finish(tile, acc). floats(tile): the sums in use.
template <typename Run, typename Floats, typename Finish>
void sum_segments(const WeightSums& s, const ParallelFor& parallel_for, const Run& run,
                  const Floats& floats, const Finish& finish) {
  const auto sums = [&](int64_t tiles) {
    return reinterpret_cast<float*>(
        scratch(Scratch::partial_sums, static_cast<size_t>(tiles * s.tile_floats) * sizeof(float)));
  };
  if (s.segments == 1) {
    parallel_for(s.tiles, [&](int64_t begin, int64_t end) {
      float* acc = sums(1);
      for (int64_t i = begin; i < end; ++i) {
        run(0, i, acc);
        finish(i, acc);
      }
    });
    return;
  }
  float* all = sums(s.segments * s.tiles);
  parallel_for(s.segments * s.tiles, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) run(i / s.tiles, i % s.tiles, all + i * s.tile_floats);
  });
  parallel_for(s.tiles, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* acc = all + i * s.tile_floats;
      const int64_t count = floats(i);
      for (int64_t segment = 1; segment < s.segments; ++segment) {
        const float* other = acc + segment * s.tiles * s.tile_floats;
#pragma omp simd
        for (int64_t j = 0; j < count; ++j) acc[j] += other[j];
      }
      finish(i, acc);
    }
  });
}

}  // namespace qat::kernels
