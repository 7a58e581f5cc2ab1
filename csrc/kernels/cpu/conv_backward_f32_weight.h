#pragma once
// How the weight gradient splits its sums.
//
// Note [Chunks of positions]
// Output positions are taken in chunks of whole lines, or of parts of a long line. A chunk's codes
// are centred and converted once for all taps and rows of a tile; one partial sum (Note [Order of
// float32 sums]) is what one tap adds of one chunk.
//
// Note [Taps of one line]
// The three channels of an image would make tiles of three rows. Where positions are not spread by
// a dilation, the channels of a kernel row's taps are neighbours in memory: they become the rows of
// one tile, and a step is then a kernel row instead of a tap. The padding beside the image is then
// multiplied as well: an infinite gradient there gives NaN, as it does in a product of matrices.

#include "kernels/cpu/conv_backward_f32_kernels.h"

namespace qat::kernels::f32 {

// How one axis of the packed input maps to the input: element i is input[i * gather - padding], and
// output position o meets it in tap t where i == o * step + t * dilation.
struct WeightAxis {
  int64_t gather = 1, step = 1, dilation = 1, padding = 0;
};

// Output lines first_line.. of all images' lines, columns begin..end of each.
struct Chunk {
  int64_t first_line = 0, lines = 0, begin = 0, end = 0;

  int64_t positions() const { return lines * (end - begin); }
};

struct WeightPlan {
  ConvShape shape;
  WeightAxis h, w;
  bool rows_are_grad = true;
  int64_t merged = 1;  // taps of one kernel row that are rows of one tile
  std::vector<Block> grad, input;
  std::vector<Chunk> chunks;
  int64_t segments = 1;  // of the chunks, summed apart

  explicit WeightPlan(const ConvShape& s);

  const std::vector<Block>& rows() const { return rows_are_grad ? grad : input; }
  const std::vector<Block>& columns() const { return rows_are_grad ? input : grad; }
  int64_t steps() const { return shape.kernel[0] * shape.kernel[1] / merged; }
  int64_t tiles() const { return static_cast<int64_t>(rows().size() * columns().size()); }
  int64_t tile_floats() const;  // of the largest one
};

// The input under a chunk as floats, [line][column][channel of a block]: the lines that exist, one
// image after another, and all columns that a tap may meet.
class PackedCodes {
 public:
  PackedCodes(const WeightPlan& plan, const Chunk& chunk, int64_t width);

  int64_t floats() const { return static_cast<int64_t>(lines_.size()) * columns_ * width_; }
  // codes.codes: the whole input, from the block's first channel on.
  void pack(const Kernels& kernels, CodeRows codes, float* out) const;
  // Lists the terms of one step: positions of the chunk's gradient as rows, of the packed codes as
  // columns. grad_stride: floats between positions of the gradient.
  void list_terms(int64_t step, int64_t grad_stride, std::vector<Term>& terms) const;

 private:
  struct Image {
    int64_t first = 0;              // packed row 0 would be at this place of lines_
    std::array<int64_t, 2> rows{};  // that exist
  };

  const WeightPlan& plan_;
  const Chunk& chunk_;
  int64_t width_, columns_;
  std::vector<int64_t> lines_;  // of all images' input lines
  std::vector<Image> images_;
};

}  // namespace qat::kernels::f32
