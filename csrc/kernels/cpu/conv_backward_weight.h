#pragma once
// How a weight gradient is divided, summed and written, whatever the products are.
//
// Note [Taps of one line]
// The three channels of an image would make tiles of three rows. Where positions are not spread by
// a dilation, the channels of a kernel row's taps are neighbours in memory: they become the rows of
// one tile, and a step is then a kernel row instead of a tap.

#include "kernels/cpu/conv_backward.h"
#include "kernels/cpu/conv_backward_scatter.h"

namespace qat::kernels {

// How one axis of the packed input maps to the input: output position o meets the element
// o * step + t * dilation in tap t. For a single tap, only what it meets is packed.
struct WeightAxis {
  int64_t gather = 1, step = 1, dilation = 1, padding = 0, taps = 1;

  // Where an element lies in the input.
  int64_t source(int64_t element) const { return element * gather - padding; }
  // Elements from the first to the last that `outputs` consecutive positions meet.
  int64_t span(int64_t outputs) const { return (outputs - 1) * step + (taps - 1) * dilation + 1; }
  // Those of begin..begin + count that lie inside of an input of this size.
  std::array<int64_t, 2> inside(int64_t size, int64_t begin, int64_t count) const;
};

// The sizes of the tiles of one kind of products.
struct TileSizes {
  int64_t unit = 1;  // columns are padded to a multiple of this
  int64_t max_vectors = 1;
  int64_t block_rows = 1, block_columns = 1;
};

struct WeightLayout;

// A block of rows and one of columns; their sums are [step][row][column].
struct WeightBlock {
  const WeightLayout& layout;
  const Block& rows;
  const Block& columns;

  const Block& grad() const;
  const Block& input() const;
  int64_t floats() const;
};

struct WeightLayout {
  ConvShape shape;
  WeightAxis h, w;
  bool rows_are_grad = true;
  int64_t merged = 1;  // taps of one kernel row that are rows of one tile
  std::vector<Block> grad, input;
  bool input_inside = true;  // the next block has other channels of the input

  WeightLayout(const ConvShape& s, const TileSizes& sizes);

  int64_t steps() const { return shape.kernel[0] * shape.kernel[1] / merged; }
  int64_t blocks() const { return static_cast<int64_t>(grad.size() * input.size()); }
  WeightBlock block(int64_t i) const;
};

struct WeightOutput {
  float* d_weight = nullptr;
  const std::array<int64_t, 4>& strides;
  float scale = 0.0f;
  void (*scatter)(const ScatterTile&, float*) = nullptr;
};

// The sums of the chunks begin..end of the positions.
using SumChunks =
    std::function<void(const WeightBlock& block, int64_t begin, int64_t end, float* sums)>;

// Calls `sum` for segments of the chunks of every block, adds a block's segments in their order,
// scales the result and writes it where the weight's strides say. The segments depend on the shape
// alone.
void sum_segments(const WeightLayout& layout, int64_t chunks, const SumChunks& sum,
                  const WeightOutput& out, const ParallelFor& parallel_for);

}  // namespace qat::kernels
