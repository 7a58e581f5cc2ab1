#include "kernels/cpu/conv_backward_f32_weight.h"

#include <algorithm>

#include "kernels/cpu/conv_backward_weight.h"

namespace qat::kernels::f32 {
namespace {

struct Inputs {
  const float* grad = nullptr;
  const uint8_t* codes = nullptr;
  uint8_t flip = 0;
  int32_t zero_point = 0;  // after the flip
};

// The sums of one block of rows and one of columns.
struct Item {
  const Block& rows;
  const Block& columns;
  float* acc = nullptr;  // [step][row][column]

  const Block& grad(const WeightPlan& plan) const { return plan.rows_are_grad ? rows : columns; }
  const Block& codes(const WeightPlan& plan) const { return plan.rows_are_grad ? columns : rows; }
};

// tile: rows and columns at the first channel of the item's blocks.
void run_steps(const Kernels& kernels, const WeightPlan& plan, const PackedCodes& packed,
               const Item& item, WeightTile tile, int64_t grad_stride) {
  const float *rows = tile.rows, *columns = tile.columns;
  std::vector<Term> terms;
  for (int64_t step = 0; step < plan.steps(); ++step) {
    packed.list_terms(step, grad_stride, terms);
    if (!plan.rows_are_grad) {
      for (Term& term : terms) std::swap(term.row, term.column);
    }
    tile.terms = terms.data();
    tile.count = static_cast<int64_t>(terms.size());
    float* acc = item.acc + step * item.rows.count * tile.width;
    for_tiles(kernels, item.rows.count, tile.width,
              [&](int64_t column, int vectors, int64_t begin, int64_t end) {
                tile.rows = rows + begin;
                tile.columns = columns + column;
                tile.acc = acc + begin * tile.width + column;
                kernels.weight_tile[vectors][end - begin](tile);
              });
  }
}

void add_chunk(const Kernels& kernels, const WeightPlan& plan, const Inputs& x, const Chunk& chunk,
               const Item& item) {
  const ConvShape& s = plan.shape;
  const bool by_grad = plan.rows_are_grad;
  const Block& codes = item.codes(plan);
  const int64_t channels = codes.count / plan.merged;  // of the input
  const int64_t code_width = by_grad ? codes.width : channels;
  const PackedCodes packed(plan, chunk, code_width);
  auto* input = reinterpret_cast<float*>(
      scratch(Scratch::operand, static_cast<size_t>(packed.floats()) * sizeof(float)));
  packed.pack(kernels, {x.codes + codes.first, x.flip, x.zero_point, 0, 0, channels, code_width},
              input);
  const int64_t first = chunk.first_line * s.out_size[1] + chunk.begin;
  const float* grad = x.grad + first * s.out_channels + item.grad(plan).first;
  int64_t grad_stride = s.out_channels;
  const Block& block = item.grad(plan);
  // Rows far apart would share a few sets of the cache: 41 of 51 GMAC/s with 1152 channels.
  const bool apart = by_grad && block.count < grad_stride;
  const bool short_columns = !by_grad && block.count < block.width;
  if (apart || short_columns) {
    grad_stride = by_grad ? block.count : block.width;
    auto* copy = reinterpret_cast<float*>(
        scratch(Scratch::other_operand,
                static_cast<size_t>(chunk.positions() * grad_stride) * sizeof(float)));
    kernels.copy({grad, chunk.positions(), s.out_channels, block.count, grad_stride}, copy);
    grad = copy;
  }
  WeightTile tile;
  tile.rows = by_grad ? grad : input;
  tile.columns = by_grad ? input : grad;
  tile.width = item.columns.width;
  run_steps(kernels, plan, packed, item, tile, grad_stride);
}

void run_segment(const Kernels& kernels, const WeightPlan& plan, const Inputs& x, int64_t segment,
                 const Item& item) {
  const auto chunks = static_cast<int64_t>(plan.chunks.size());
  const int64_t floats = plan.steps() * item.rows.count * item.columns.width;
  std::fill(item.acc, item.acc + floats, 0.0f);
  const int64_t end = chunks * (segment + 1) / plan.segments;
  for (int64_t i = chunks * segment / plan.segments; i < end; ++i) {
    add_chunk(kernels, plan, x, plan.chunks[static_cast<size_t>(i)], item);
  }
}

void run_all(const Kernels& kernels, const WeightPlan& plan, const Inputs& x,
             const WeightOutput& out, const ParallelFor& parallel_for) {
  // Blocks of the codes inside, because the gradient has four times their bytes.
  const auto inner = static_cast<int64_t>(plan.input.size());
  const auto block = [&](int64_t tile) {
    const Block& grad = plan.grad[static_cast<size_t>(tile / inner)];
    const Block& input = plan.input[static_cast<size_t>(tile % inner)];
    const bool by_grad = plan.rows_are_grad;
    return WeightBlock{plan.shape, by_grad, plan.merged, by_grad ? grad : input,
                       by_grad ? input : grad};
  };
  sum_segments(
      {plan.segments, plan.tiles(), plan.tile_floats()}, parallel_for,
      [&](int64_t segment, int64_t tile, float* acc) {
        const WeightBlock b = block(tile);
        run_segment(kernels, plan, x, segment, {b.rows, b.columns, acc});
      },
      [&](int64_t tile) { return block(tile).floats(); },
      [&](int64_t tile, const float* acc) {
        write_weight_block(block(tile), acc, out, kernels.scatter);
      });
}

}  // namespace

void conv_backward_weight(const Kernels& kernels, const ConvShape& shape, const float* grad,
                          const uint8_t* codes, int32_t zero_point, float input_scale,
                          float* d_weight, const std::array<int64_t, 4>& weight_strides,
                          const ParallelFor& parallel_for, bool codes_are_signed) {
  const WeightPlan plan(shape);
  const int32_t shift = codes_are_signed ? 128 : 0;
  run_all(kernels, plan, {grad, codes, static_cast<uint8_t>(shift), zero_point + shift},
          {d_weight, weight_strides, input_scale}, parallel_for);
}

}  // namespace qat::kernels::f32
