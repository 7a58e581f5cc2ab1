#include <algorithm>

#include "kernels/cpu/conv_backward_f32_weight.h"
#include "kernels/cpu/conv_backward_weight.h"

namespace qat::kernels::f32 {
namespace {

// A chunk's operands stay in the level-2 cache: 192 positions of 128 rows are 96 KB, and 768 of 64
// columns, where a small image is read whole for a few positions, 192 KB.
constexpr int64_t kChunkPositions = 192, kPackedPositions = 768;

WeightAxis make_axis(const ConvShape& s, size_t d) {
  if (s.kernel[d] == 1) return {s.stride[d], 1, 1, s.padding[d]};
  return {1, s.stride[d], s.dilation[d], s.padding[d]};
}

// Where the elements of an axis lie inside of the input: [first, last).
std::array<int64_t, 2> inside(const WeightAxis& axis, int64_t size) {
  return {(axis.padding + axis.gather - 1) / axis.gather,
          (size - 1 + axis.padding) / axis.gather + 1};
}

std::vector<Chunk> make_chunks(const WeightPlan& plan) {
  const ConvShape& s = plan.shape;
  const int64_t lines = s.batch * s.out_size[0], columns = s.out_size[1];
  const auto packed = [&](const WeightAxis& axis, size_t d) {  // elements under all outputs
    return (s.out_size[d] - 1) * axis.step + (s.kernel[d] - 1) * axis.dilation + 1;
  };
  const int64_t per_image = packed(plan.h, 0) * packed(plan.w, 1);
  const int64_t under_line = (per_image + s.out_size[0] - 1) / s.out_size[0];
  const int64_t pieces = (columns + kChunkPositions - 1) / kChunkPositions;
  const int64_t per_chunk =
      std::max<int64_t>(1, std::min(kChunkPositions / columns, kPackedPositions / under_line));
  std::vector<Chunk> chunks;
  for (int64_t line = 0; line < lines; line += per_chunk) {
    for (int64_t i = 0; i < pieces; ++i) {
      chunks.push_back({line, std::min(per_chunk, lines - line), columns * i / pieces,
                        columns * (i + 1) / pieces});
    }
  }
  return chunks;
}

}  // namespace

WeightPlan::WeightPlan(const ConvShape& s)
    : shape(s),
      h(make_axis(s, 0)),
      w(make_axis(s, 1)),
      rows_are_grad(choose_rows(s, kLaneUnit, kMaxVectors)),
      chunks(make_chunks(*this)) {
  const auto blocks = [](int64_t channels, bool rows) {
    return rows ? split_channels(channels, 1, kBlockRows)
                : split_channels(channels, kLaneUnit, kBlockColumns);
  };
  grad = blocks(s.out_channels, rows_are_grad);
  input = blocks(s.in_channels, !rows_are_grad);
  if (!rows_are_grad && s.dilation[1] == 1 && s.in_channels * s.kernel[1] <= kBlockRows) {
    merged = s.kernel[1];
    input[0].count *= merged;
  }
  segments = count_segments(tiles(), static_cast<int64_t>(chunks.size()));
}

int64_t WeightPlan::tile_floats() const {
  const auto largest = [](const std::vector<Block>& blocks, int64_t Block::*size) {
    int64_t found = 0;
    for (const Block& block : blocks) found = std::max(found, block.*size);
    return found;
  };
  return steps() * largest(rows(), &Block::count) * largest(columns(), &Block::width);
}

PackedCodes::PackedCodes(const WeightPlan& plan, const Chunk& chunk, int64_t width)
    : plan_(plan),
      chunk_(chunk),
      width_(width),
      columns_((chunk.end - chunk.begin - 1) * plan.w.step +
               (plan.shape.kernel[1] - 1) * plan.w.dilation + 1) {
  const ConvShape& s = plan.shape;
  const auto valid = inside(plan.h, s.in_size[0]);
  const int64_t end = chunk.first_line + chunk.lines;
  for (int64_t line = chunk.first_line; line < end;) {
    const int64_t n = line / s.out_size[0], oh = line % s.out_size[0];
    const int64_t last = std::min(s.out_size[0], oh + end - line) - 1;
    const int64_t below = last * plan.h.step + (s.kernel[0] - 1) * plan.h.dilation + 1;
    const int64_t from = std::max(oh * plan.h.step, valid[0]), to = std::min(below, valid[1]);
    images_.push_back({static_cast<int64_t>(lines_.size()) - from, {from, to}});
    for (int64_t i = from; i < to; ++i) {
      lines_.push_back(n * s.in_size[0] + i * plan.h.gather - plan.h.padding);
    }
    line += last - oh + 1;
  }
}

void PackedCodes::pack(const Kernels& kernels, CodeRows codes, float* out) const {
  const ConvShape& s = plan_.shape;
  const WeightAxis& w = plan_.w;
  const int64_t begin = chunk_.begin * w.step;
  const auto valid = inside(w, s.in_size[1]);
  const int64_t first = std::clamp(valid[0] - begin, int64_t{0}, columns_);
  const int64_t last = std::clamp(valid[1] - begin, first, columns_);
  const uint8_t* input = codes.codes;
  codes.positions = last - first;
  codes.stride = w.gather * s.in_channels;
  codes.width = width_;
  for (const int64_t line : lines_) {
    std::fill(out, out + first * width_, 0.0f);
    if (codes.positions > 0) {
      const int64_t column = (begin + first) * w.gather - w.padding;
      codes.codes = input + (line * s.in_size[1] + column) * s.in_channels;
      kernels.centre(codes, out + first * width_);
    }
    std::fill(out + last * width_, out + columns_ * width_, 0.0f);
    out += columns_ * width_;
  }
}

void PackedCodes::list_terms(int64_t step, int64_t grad_stride, std::vector<Term>& terms) const {
  const ConvShape& s = plan_.shape;
  const WeightAxis &h = plan_.h, &w = plan_.w;
  const int64_t tap = step * plan_.merged, r = tap / s.kernel[1], t = tap % s.kernel[1];
  const int64_t wide = chunk_.end - chunk_.begin;
  const auto valid = inside(w, s.in_size[1]);
  const auto column = [&](int64_t j) { return (chunk_.begin + j) * w.step + t * w.dilation; };
  int64_t first = 0, last = wide;
  while (plan_.merged == 1 && first < last && column(first) < valid[0]) ++first;
  while (plan_.merged == 1 && first < last && column(last - 1) >= valid[1]) --last;
  terms.resize(static_cast<size_t>(chunk_.positions()));
  Term* next = terms.data();
  for (int64_t i = 0; i < chunk_.lines; ++i) {
    const int64_t line = chunk_.first_line + i;
    const int64_t row = line % s.out_size[0] * h.step + r * h.dilation;
    const Image& image =
        images_[static_cast<size_t>(line / s.out_size[0] - chunk_.first_line / s.out_size[0])];
    if (row < image.rows[0] || row >= image.rows[1]) continue;
    const auto grad = static_cast<int32_t>(i * wide * grad_stride);
    const auto codes =
        static_cast<int32_t>(((image.first + row) * columns_ + t * w.dilation) * width_);
    const auto grad_step = static_cast<int32_t>(grad_stride);
    const auto codes_step = static_cast<int32_t>(w.step * width_);
    for (auto j = static_cast<int32_t>(first); j < last; ++j) {
      *next++ = {grad + j * grad_step, codes + j * codes_step};
    }
  }
  terms.resize(static_cast<size_t>(next - terms.data()));
}

}  // namespace qat::kernels::f32
