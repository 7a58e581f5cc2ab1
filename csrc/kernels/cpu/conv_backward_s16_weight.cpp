// The weight gradient: products of gradient channels and code channels, summed over positions.

#include "kernels/cpu/conv_backward_s16_weight.h"

namespace qat::kernels::s16 {
namespace {

struct Inputs {
  const Kernels& kernels;
  const WeightPlan& plan;
  const uint32_t* grad = nullptr;
  const uint32_t* codes = nullptr;
  const float* scales = nullptr;
};

// One step and one flush. tile: rows, columns, scale and acc of the whole block.
void run_tiles(const Kernels& kernels, const WeightBlock& block, WeightTile tile) {
  const uint32_t *rows = tile.rows, *columns = tile.columns;
  const float* scale = tile.scale;
  float* acc = tile.acc;
  for_tiles(kernels, block.rows.count, block.columns.width,
            [&](int64_t column, int vectors, int64_t begin, int64_t end) {
              tile.rows = rows + begin;
              tile.columns = columns + column;
              tile.scale = scale + (tile.rows_are_grad ? begin : column);
              tile.acc = acc + begin * block.columns.width + column;
              kernels.weight_tile[vectors][end - begin](tile);
            });
}

void sum_flushes(const Inputs& x, const WeightBlock& block, int64_t begin, int64_t end,
                 float* sums) {
  const WeightPlan& plan = x.plan;
  const bool by_grad = plan.rows_are_grad;
  WeightTile tile;
  tile.rows_are_grad = by_grad;
  tile.row_width = block.rows.width;
  tile.column_width = block.columns.width;
  tile.row_step = block.rows.width * (by_grad ? 1 : plan.w.step);
  tile.column_step = block.columns.width * (by_grad ? plan.w.step : 1);
  const int64_t width = total_width(plan.grad);
  const uint32_t* grad = x.grad + plan.grad_positions * block.grad().offset;
  const uint32_t* input = x.codes + plan.input_positions * block.input().offset;
  for (int64_t flush = begin; flush < end; ++flush) {
    const auto at = static_cast<size_t>(flush);
    tile.runs = plan.runs.data() + plan.chunks[at];
    tile.run_count = static_cast<int64_t>(plan.chunks[at + 1] - plan.chunks[at]);
    tile.scale = x.scales + flush * width + block.grad().offset;
    tile.first = flush == begin;
    for (int64_t step = 0; step < plan.steps(); ++step) {
      const uint32_t* codes = input + plan.tap_offset(step) * block.input().width;
      tile.rows = by_grad ? grad : codes;
      tile.columns = by_grad ? codes : grad;
      tile.acc = sums + step * block.rows.count * block.columns.width;
      run_tiles(x.kernels, block, tile);
    }
  }
}

}  // namespace

void conv_backward_weight(const Kernels& kernels, const ConvShape& shape, const float* grad,
                          const uint8_t* codes, int32_t zero_point, float input_scale,
                          float* d_weight, const std::array<int64_t, 4>& weight_strides,
                          const ParallelFor& parallel_for, bool codes_are_signed) {
  const WeightPlan plan(shape);
  const int64_t width = total_width(plan.grad);
  auto* rounded = reinterpret_cast<uint32_t*>(
      scratch(Scratch::operand, static_cast<size_t>(plan.grad_positions * width) * 4));
  std::vector<float> scales(static_cast<size_t>(plan.flushes() * width));
  pack_grad(kernels, plan, grad, rounded, scales.data(), parallel_for);
  auto* centred = reinterpret_cast<uint32_t*>(
      scratch(Scratch::other_operand,
              static_cast<size_t>(plan.input_positions * total_width(plan.input)) * 4));
  pack_codes(kernels, plan, as_unsigned(codes, zero_point, codes_are_signed), centred,
             parallel_for);
  const Inputs x{kernels, plan, rounded, centred, scales.data()};
  const auto sum = [&](const WeightBlock& block, int64_t begin, int64_t end, float* sums) {
    sum_flushes(x, block, begin, end, sums);
  };
  sum_segments(plan, plan.flushes(), sum, {d_weight, weight_strides, input_scale, kernels.scatter},
               parallel_for);
}

}  // namespace qat::kernels::s16
