// The weight gradient: products of gradient channels and code channels, summed over positions.

#include "kernels/cpu/conv_backward_s16_weight.h"

#include <algorithm>

#include "kernels/cpu/conv_backward_weight.h"
#include "numerics/arith.h"

namespace qat::kernels::s16 {
namespace {

struct Inputs {
  const uint32_t* grad = nullptr;
  const uint32_t* codes = nullptr;
  const float* scales = nullptr;
};

// One tap and one flush for a block of rows and a block of columns.
void run_tiles(const Kernels& kernels, const Block& rows, const Block& columns, WeightTile tile) {
  const uint32_t *a = tile.rows, *b = tile.columns;
  const float* scale = tile.scale;
  float* acc = tile.acc;
  for (int64_t column = 0; column < columns.width;) {
    const int64_t left = (columns.width - column) / kernels.lanes;
    const auto vectors = static_cast<int>(std::min<int64_t>(left, kernels.max_vectors));
    const int64_t most = kernels.max_rows[vectors], tiles = (rows.count + most - 1) / most;
    tile.columns = b + column;
    for (int64_t i = 0; i < tiles; ++i) {
      const int64_t begin = rows.count * i / tiles, end = rows.count * (i + 1) / tiles;
      tile.rows = a + begin;
      tile.scale = scale + (tile.rows_are_grad ? begin : column);
      tile.acc = acc + begin * columns.width + column;
      kernels.weight_tile[vectors][end - begin](tile);
    }
    column += vectors * kernels.lanes;
  }
}

// Sums of one segment of the positions: acc is [tap][row][column].
void run_segment(const Kernels& kernels, const WeightPlan& plan, const Inputs& x, const Block& rows,
                 const Block& columns, int64_t segment, float* acc) {
  const int64_t flushes = plan.flushes();
  const int64_t begin = flushes * segment / plan.segments;
  const int64_t end = flushes * (segment + 1) / plan.segments;
  const bool by_grad = plan.rows_are_grad;
  WeightTile tile;
  tile.rows_are_grad = by_grad;
  tile.row_width = rows.width;
  tile.column_width = columns.width;
  tile.row_step = rows.width * (by_grad ? 1 : plan.w.step);
  tile.column_step = columns.width * (by_grad ? plan.w.step : 1);
  const uint32_t* a = plan.rows().block(by_grad ? x.grad : x.codes, rows);
  const uint32_t* b = plan.columns().block(by_grad ? x.codes : x.grad, columns);
  for (int64_t chunk = begin; chunk < end; ++chunk) {
    const auto at = static_cast<size_t>(chunk);
    tile.runs = plan.runs.data() + plan.chunks[at];
    tile.run_count = static_cast<int64_t>(plan.chunks[at + 1] - plan.chunks[at]);
    tile.scale = x.scales + chunk * plan.grad.width() + (by_grad ? rows : columns).offset;
    tile.first = chunk == begin;
    for (int64_t tap = 0; tap < plan.taps(); ++tap) {
      tile.rows = a + (by_grad ? 0 : plan.tap_offset(tap) * rows.width);
      tile.columns = b + (by_grad ? plan.tap_offset(tap) * columns.width : 0);
      tile.acc = acc + tap * rows.count * columns.width;
      run_tiles(kernels, rows, columns, tile);
    }
  }
}

void run_all(const Kernels& kernels, const WeightPlan& plan, const Inputs& x,
             const WeightOutput& out, const ParallelFor& parallel_for) {
  const auto inner = static_cast<int64_t>(plan.rows().blocks.size());
  const auto block = [&](int64_t tile) {
    return WeightBlock{plan.shape, plan.rows_are_grad, plan.merged,
                       plan.rows().blocks[static_cast<size_t>(tile % inner)],
                       plan.columns().blocks[static_cast<size_t>(tile / inner)]};
  };
  sum_segments(
      {plan.segments, plan.tiles(), plan.tile_floats()}, parallel_for,
      [&](int64_t segment, int64_t tile, float* acc) {
        const WeightBlock b = block(tile);
        run_segment(kernels, plan, x, b.rows, b.columns, segment, acc);
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
  auto* rounded = reinterpret_cast<uint32_t*>(
      scratch(Scratch::operand, static_cast<size_t>(plan.grad.words()) * 4));
  std::vector<float> scales(static_cast<size_t>(plan.flushes() * plan.grad.width()));
  pack_grad(kernels, plan, grad, rounded, scales.data(), parallel_for);
  auto* centred = reinterpret_cast<uint32_t*>(
      scratch(Scratch::other_operand, static_cast<size_t>(plan.input.words()) * 4));
  // Flipping the top bit turns int8 into uint8 and adds 128 to code and zero point.
  const int32_t shift = codes_are_signed ? 128 : 0;
  pack_codes(kernels, plan, {codes, static_cast<uint8_t>(shift), zero_point + shift}, centred,
             parallel_for);
  run_all(kernels, plan, {rounded, centred, scales.data()}, {d_weight, weight_strides, input_scale},
          parallel_for);
}

}  // namespace qat::kernels::s16
