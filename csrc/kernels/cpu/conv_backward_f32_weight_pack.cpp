#include <algorithm>

#include "kernels/cpu/conv_backward_f32_weight.h"

namespace qat::kernels::f32 {
namespace {

// A chunk's operands stay in the level-2 cache: 192 positions of 128 rows are 96 KB, and 768 of 64
// columns, where a small image is read whole for a few positions, 192 KB.
constexpr int64_t kChunkPositions = 192, kPackedPositions = 768;

std::vector<Chunk> make_chunks(const WeightLayout& plan) {
  const ConvShape& s = plan.shape;
  const int64_t lines = s.batch * s.out_size[0], columns = s.out_size[1];
  const int64_t per_image = plan.h.span(s.out_size[0]) * plan.w.span(s.out_size[1]);
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
    : WeightLayout(s, {kLaneUnit, kMaxVectors, kBlockRows, kBlockColumns}),
      chunks(make_chunks(*this)) {
  input_inside = true;  // the gradient has four times the bytes of the codes
}

PackedCodes::PackedCodes(const WeightPlan& plan, const Chunk& chunk, int64_t width)
    : plan_(plan),
      chunk_(chunk),
      width_(width),
      first_column_(chunk.begin * plan.w.step),
      columns_(plan.w.span(chunk.end - chunk.begin)),
      inside_(plan.w.inside(plan.shape.in_size[1], first_column_, columns_)) {
  const ConvShape& s = plan.shape;
  const int64_t end = chunk.first_line + chunk.lines;
  for (int64_t line = chunk.first_line; line < end;) {
    const int64_t n = line / s.out_size[0], oh = line % s.out_size[0];
    const int64_t outputs = std::min(s.out_size[0] - oh, end - line);
    const auto rows = plan.h.inside(s.in_size[0], oh * plan.h.step, plan.h.span(outputs));
    images_.push_back({static_cast<int64_t>(lines_.size()) - rows[0], rows});
    for (int64_t i = rows[0]; i < rows[1]; ++i) {
      lines_.push_back(n * s.in_size[0] + plan.h.source(i));
    }
    line += outputs;
  }
}

void PackedCodes::pack(const Kernels& kernels, const ByteCodes& codes, int64_t channels,
                       float* out) const {
  const ConvShape& s = plan_.shape;
  const int64_t first = inside_[0] - first_column_, last = inside_[1] - first_column_;
  const int64_t stride = plan_.w.gather * s.in_channels;
  CodeRows rows{codes, last - first, stride, channels, width_};
  for (const int64_t line : lines_) {
    std::fill(out, out + first * width_, 0.0f);
    if (rows.positions > 0) {
      const int64_t column = plan_.w.source(inside_[0]);
      rows.codes.data = codes.data + (line * s.in_size[1] + column) * s.in_channels;
      kernels.centre(rows, out + first * width_);
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
  const auto column = [&](int64_t j) { return first_column_ + j * w.step + t * w.dilation; };
  int64_t first = 0, last = wide;
  while (plan_.merged == 1 && first < last && column(first) < inside_[0]) ++first;
  while (plan_.merged == 1 && first < last && column(last - 1) >= inside_[1]) --last;
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
