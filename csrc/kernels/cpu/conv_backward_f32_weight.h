#pragma once
// How the weight gradient splits its sums.
//
// Note [Chunks of positions]
// Output positions are taken in chunks of whole lines, or of parts of a long line. A chunk's codes
// are centred and converted once for all taps and rows of a tile; one partial sum (Note [Order of
// float32 sums]) is what one tap adds of one chunk.
//
// Where a step is a kernel row (Note [Taps of one line]), the padding beside the image is
// multiplied as well: an infinite gradient there gives NaN, as it does in a product of matrices.

#include "kernels/cpu/conv_backward_f32_kernels.h"
#include "kernels/cpu/conv_backward_weight.h"

namespace qat::kernels::f32 {

// Output lines first_line.. of all images' lines, columns begin..end of each.
struct Chunk {
  int64_t first_line = 0, lines = 0, begin = 0, end = 0;

  int64_t positions() const { return lines * (end - begin); }
};

struct WeightPlan : WeightLayout {
  std::vector<Chunk> chunks;

  explicit WeightPlan(const ConvShape& s);
};

// The input under a chunk as floats, [line][column][channel of a block]: the lines that exist, one
// image after another, and all columns that a tap may meet.
class PackedCodes {
 public:
  PackedCodes(const WeightPlan& plan, const Chunk& chunk, int64_t width);

  int64_t floats() const { return static_cast<int64_t>(lines_.size()) * columns_ * width_; }
  // codes.data: the whole input, from the block's first channel on.
  void pack(const Kernels& kernels, const ByteCodes& codes, int64_t channels, float* out) const;
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
  int64_t width_, first_column_, columns_;
  std::array<int64_t, 2> inside_;  // columns that exist
  std::vector<int64_t> lines_;     // of all images' input lines
  std::vector<Image> images_;
};

}  // namespace qat::kernels::f32
