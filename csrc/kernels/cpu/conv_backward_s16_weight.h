#pragma once
// How the weight gradient splits its sums.
//
// Note [Paired images]
// A pair of products needs two positions of one sum in neighbouring int16. Those are the same
// output position of two images, so that every tap reads aligned words; an odd batch pairs the
// upper half of each image with its lower half.
//
// Note [Few channels]
// The three channels of an image would make tiles of three rows. Where positions are not spread
// by a dilation, the channels of a kernel row's taps are neighbours in memory: they become the
// rows of one tile, and what the tile calls a tap is a kernel row.

#include "kernels/cpu/conv_backward_s16_kernels.h"

namespace qat::kernels::s16 {

// How one axis of the packed input maps to the input: element i is input[i * gather - padding].
struct WeightAxis {
  int64_t gather = 1, step = 1, dilation = 1, padding = 0, size = 0;
};

// One of the two matrices: its channels are the rows or the columns of a tile.
struct Operand {
  std::vector<Block> blocks;
  int64_t positions = 0;

  int64_t width() const { return blocks.back().offset + blocks.back().width; }
  int64_t words() const { return positions * width(); }
  uint32_t* block(uint32_t* base, const Block& b) const { return base + positions * b.offset; }
  const uint32_t* block(const uint32_t* base, const Block& b) const {
    return base + positions * b.offset;
  }
};

struct WeightPlan {
  ConvShape shape;
  bool halves = false;   // pairs are the halves of an image
  int64_t pairs = 0;     // of images or halves
  int64_t out_rows = 0;  // of each
  WeightAxis h, w;
  bool rows_are_grad = true;
  int64_t merged = 1;  // taps of one kernel row that are rows of one tile
  Operand grad, input;
  std::vector<Run> runs;
  std::vector<size_t> chunks;  // first run of each flush, and the number of runs
  int64_t segments = 1;

  explicit WeightPlan(const ConvShape& s);

  const Operand& rows() const { return rows_are_grad ? grad : input; }
  const Operand& columns() const { return rows_are_grad ? input : grad; }
  int64_t flushes() const { return static_cast<int64_t>(chunks.size()) - 1; }
  int64_t tiles() const {
    return static_cast<int64_t>(rows().blocks.size() * columns().blocks.size());
  }
  int64_t taps() const { return shape.kernel[0] * shape.kernel[1] / merged; }
  int64_t tile_floats() const { return taps() * kBlockRows * kBlockColumns; }
  // Offset of a tap in the packed input, in positions.
  int64_t tap_offset(int64_t step) const {
    const int64_t tap = step * merged;
    return tap / shape.kernel[1] * h.dilation * w.size + tap % shape.kernel[1] * w.dilation;
  }
  // Image and first output row of one half of a pair.
  std::array<int64_t, 2> member(int64_t pair, int64_t which) const {
    if (halves) return {pair, which * out_rows};
    return {2 * pair + which, 0};
  }

 private:
  void make_runs();
};

// Rounds the gradient, [block][pair][output row][output column][channel], with one scale per flush
// and channel: scales is [flush][grad.width()].
void pack_grad(const Kernels& kernels, const WeightPlan& plan, const float* grad, uint32_t* out,
               float* scales, const ParallelFor& parallel_for);

struct Codes {
  const uint8_t* data = nullptr;
  uint8_t flip = 0;
  int32_t zero_point = 0;  // after the flip
};

// [block][pair][packed row][packed column][channel], centred; what lies outside the image is zero.
void pack_codes(const Kernels& kernels, const WeightPlan& plan, const Codes& codes, uint32_t* out,
                const ParallelFor& parallel_for);

}  // namespace qat::kernels::s16
