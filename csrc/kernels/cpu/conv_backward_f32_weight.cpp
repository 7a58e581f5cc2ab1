#include "kernels/cpu/conv_backward_f32_weight.h"

#include <algorithm>

namespace qat::kernels::f32 {
namespace {

struct Inputs {
  const Kernels& kernels;
  const WeightPlan& plan;
  const float* grad = nullptr;
  ByteCodes codes;
};

// tile: rows and columns at the first channel of the block's, acc at its sums.
void run_steps(const Kernels& kernels, const PackedCodes& packed, const WeightBlock& block,
               WeightTile tile, int64_t grad_stride) {
  const float *rows = tile.rows, *columns = tile.columns;
  float* sums = tile.acc;
  std::vector<Term> terms;
  for (int64_t step = 0; step < block.layout.steps(); ++step) {
    packed.list_terms(step, grad_stride, terms);
    if (!block.layout.rows_are_grad) {
      for (Term& term : terms) std::swap(term.row, term.column);
    }
    tile.terms = terms.data();
    tile.count = static_cast<int64_t>(terms.size());
    float* acc = sums + step * block.rows.count * tile.width;
    for_tiles(kernels, block.rows.count, tile.width,
              [&](int64_t column, int vectors, int64_t begin, int64_t end) {
                tile.rows = rows + begin;
                tile.columns = columns + column;
                tile.acc = acc + begin * tile.width + column;
                kernels.weight_tile[vectors][end - begin](tile);
              });
  }
}

void add_chunk(const Inputs& x, const Chunk& chunk, const WeightBlock& block, float* sums) {
  const ConvShape& s = x.plan.shape;
  const bool by_grad = x.plan.rows_are_grad;
  const Block &codes = block.input(), &channels = block.grad();
  const int64_t in_channels = codes.count / x.plan.merged;
  const PackedCodes packed(x.plan, chunk, by_grad ? codes.width : in_channels);
  auto* input = reinterpret_cast<float*>(
      scratch(Scratch::operand, static_cast<size_t>(packed.floats()) * sizeof(float)));
  packed.pack(x.kernels, {x.codes.data + codes.first, x.codes.flip, x.codes.zero_point},
              in_channels, input);
  const int64_t first = chunk.first_line * s.out_size[1] + chunk.begin;
  const float* grad = x.grad + first * s.out_channels + channels.first;
  int64_t grad_stride = s.out_channels;
  // Rows far apart would share a few sets of the cache: 41 of 51 GMAC/s with 1152 channels.
  const bool apart = by_grad && channels.count < grad_stride;
  const bool short_columns = !by_grad && channels.count < channels.width;
  if (apart || short_columns) {
    grad_stride = by_grad ? channels.count : channels.width;
    auto* copy = reinterpret_cast<float*>(
        scratch(Scratch::other_operand,
                static_cast<size_t>(chunk.positions() * grad_stride) * sizeof(float)));
    x.kernels.copy({grad, chunk.positions(), s.out_channels, channels.count, grad_stride}, copy);
    grad = copy;
  }
  WeightTile tile;
  tile.rows = by_grad ? grad : input;
  tile.columns = by_grad ? input : grad;
  tile.width = block.columns.width;
  tile.acc = sums;
  run_steps(x.kernels, packed, block, tile, grad_stride);
}

}  // namespace

void conv_backward_weight(const Kernels& kernels, const ConvShape& shape, const float* grad,
                          const uint8_t* codes, int32_t zero_point, float input_scale,
                          float* d_weight, const std::array<int64_t, 4>& weight_strides,
                          const ParallelFor& parallel_for, bool codes_are_signed) {
  const WeightPlan plan(shape);
  const Inputs x{kernels, plan, grad, as_unsigned(codes, zero_point, codes_are_signed)};
  const auto sum = [&](const WeightBlock& block, int64_t begin, int64_t end, float* sums) {
    std::fill(sums, sums + block.floats(), 0.0f);
    for (int64_t i = begin; i < end; ++i) {
      add_chunk(x, plan.chunks[static_cast<size_t>(i)], block, sums);
    }
  };
  sum_segments(plan, static_cast<int64_t>(plan.chunks.size()), sum,
               {d_weight, weight_strides, input_scale, kernels.scatter}, parallel_for);
}

}  // namespace qat::kernels::f32
