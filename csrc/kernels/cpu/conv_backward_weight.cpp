#include "kernels/cpu/conv_backward_weight.h"

#include <algorithm>

namespace qat::kernels {
namespace {

WeightAxis make_axis(const ConvShape& s, size_t d) {
  if (s.kernel[d] == 1) return {s.stride[d], 1, 1, s.padding[d], 1};
  return {1, s.stride[d], s.dilation[d], s.padding[d], s.kernel[d]};
}

// Segments of `chunks` partial sums that are added apart: enough work to keep the threads busy
// where there are few blocks.
int64_t count_segments(int64_t blocks, int64_t chunks) {
  constexpr int64_t kItems = 16, kChunksPerSegment = 4;
  return std::clamp<int64_t>((kItems + blocks - 1) / blocks, 1,
                             std::max<int64_t>(1, chunks / kChunksPerSegment));
}

void write(const WeightBlock& block, const float* sums, const WeightOutput& out) {
  const WeightLayout& layout = block.layout;
  const bool by_grad = layout.rows_are_grad;
  const int64_t kernel_w = layout.shape.kernel[1], channels = block.rows.count / layout.merged;
  ScatterTile tile;
  tile.taps = layout.shape.kernel[0] * kernel_w;
  tile.columns = block.columns.count;
  tile.column_stride = out.strides[by_grad ? 1 : 0];
  tile.scale = out.scale;
  std::vector<const float*> from(static_cast<size_t>(tile.taps));
  std::vector<int64_t> offsets(static_cast<size_t>(tile.taps));
  tile.from = from.data();
  tile.offsets = offsets.data();
  for (int64_t i = 0; i < channels; ++i) {
    for (int64_t tap = 0; tap < tile.taps; ++tap) {
      const int64_t row = tap % layout.merged * channels + i;
      from[static_cast<size_t>(tap)] =
          sums + (tap / layout.merged * block.rows.count + row) * block.columns.width;
      offsets[static_cast<size_t>(tap)] =
          tap / kernel_w * out.strides[2] + tap % kernel_w * out.strides[3];
    }
    out.scatter(tile, out.d_weight + (block.rows.first + i) * out.strides[by_grad ? 0 : 1] +
                          block.columns.first * tile.column_stride);
  }
}

float* scratch_floats(int64_t count) {
  return reinterpret_cast<float*>(
      scratch(Scratch::partial_sums, static_cast<size_t>(count) * sizeof(float)));
}

}  // namespace

std::array<int64_t, 2> WeightAxis::inside(int64_t size, int64_t begin, int64_t count) const {
  const int64_t end = begin + count;
  const int64_t first = std::clamp((padding + gather - 1) / gather, begin, end);
  return {first, std::clamp((size - 1 + padding) / gather + 1, first, end)};
}

const Block& WeightBlock::grad() const { return layout.rows_are_grad ? rows : columns; }
const Block& WeightBlock::input() const { return layout.rows_are_grad ? columns : rows; }
int64_t WeightBlock::floats() const { return layout.steps() * rows.count * columns.width; }

WeightLayout::WeightLayout(const ConvShape& s, const TileSizes& sizes)
    : shape(s),
      h(make_axis(s, 0)),
      w(make_axis(s, 1)),
      rows_are_grad(choose_rows(s, sizes.unit, sizes.max_vectors)) {
  const auto split = [&](int64_t channels, bool rows) {
    return rows ? split_channels(channels, 1, sizes.block_rows)
                : split_channels(channels, sizes.unit, sizes.block_columns);
  };
  grad = split(s.out_channels, rows_are_grad);
  input = split(s.in_channels, !rows_are_grad);
  if (!rows_are_grad && s.dilation[1] == 1 && s.in_channels * s.kernel[1] <= sizes.block_rows) {
    merged = s.kernel[1];
    input[0].count *= merged;
  }
}

WeightBlock WeightLayout::block(int64_t i) const {
  const auto inner = static_cast<int64_t>((input_inside ? input : grad).size());
  const auto inside = static_cast<size_t>(i % inner), outside = static_cast<size_t>(i / inner);
  const Block& of_grad = grad[input_inside ? outside : inside];
  const Block& of_input = input[input_inside ? inside : outside];
  return {*this, rows_are_grad ? of_grad : of_input, rows_are_grad ? of_input : of_grad};
}

void sum_segments(const WeightLayout& layout, int64_t chunks, const SumChunks& sum,
                  const WeightOutput& out, const ParallelFor& parallel_for) {
  const int64_t blocks = layout.blocks(), segments = count_segments(blocks, chunks);
  int64_t largest = 0;
  for (int64_t i = 0; i < blocks; ++i) largest = std::max(largest, layout.block(i).floats());
  if (segments == 1) {
    parallel_for(blocks, [&](int64_t begin, int64_t end) {
      float* sums = scratch_floats(largest);
      for (int64_t i = begin; i < end; ++i) {
        sum(layout.block(i), 0, chunks, sums);
        write(layout.block(i), sums, out);
      }
    });
    return;
  }
  float* all = scratch_floats(segments * blocks * largest);
  parallel_for(segments * blocks, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t segment = i / blocks;
      sum(layout.block(i % blocks), chunks * segment / segments, chunks * (segment + 1) / segments,
          all + i * largest);
    }
  });
  parallel_for(blocks, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* sums = all + i * largest;
      const int64_t count = layout.block(i).floats();
      for (int64_t segment = 1; segment < segments; ++segment) {
        const float* other = sums + segment * blocks * largest;
#pragma omp simd
        for (int64_t j = 0; j < count; ++j) sums[j] += other[j];
      }
      write(layout.block(i), sums, out);
    }
  });
}

}  // namespace qat::kernels
