#include "kernels/cpu/conv_backward_f32_weight.h"

#include <algorithm>

namespace qat::kernels::f32 {
namespace {

struct Inputs {
  const float* grad = nullptr;
  const uint8_t* codes = nullptr;
  uint8_t flip = 0;
  int32_t zero_point = 0;  // after the flip
};

struct Output {
  float* d_weight = nullptr;
  const std::array<int64_t, 4>& strides;
  float scale = 0.0f;
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

// Scales the sums and writes them where the weight's strides say.
void write(const Kernels& kernels, const WeightPlan& plan, const Item& item, const Output& out) {
  const bool by_grad = plan.rows_are_grad;
  const int64_t kernel_w = plan.shape.kernel[1], channels = item.rows.count / plan.merged;
  ScatterTile tile;
  tile.taps = plan.shape.kernel[0] * kernel_w;
  tile.columns = item.columns.count;
  tile.column_stride = out.strides[by_grad ? 1 : 0];
  tile.scale = out.scale;
  std::vector<const float*> from(static_cast<size_t>(tile.taps));
  std::vector<int64_t> offsets(static_cast<size_t>(tile.taps));
  tile.from = from.data();
  tile.offsets = offsets.data();
  for (int64_t i = 0; i < channels; ++i) {
    for (int64_t tap = 0; tap < tile.taps; ++tap) {
      const int64_t row = tap % plan.merged * channels + i;
      from[static_cast<size_t>(tap)] =
          item.acc + (tap / plan.merged * item.rows.count + row) * item.columns.width;
      offsets[static_cast<size_t>(tap)] =
          tap / kernel_w * out.strides[2] + tap % kernel_w * out.strides[3];
    }
    kernels.scatter(tile, out.d_weight + (item.rows.first + i) * out.strides[by_grad ? 0 : 1] +
                              item.columns.first * tile.column_stride);
  }
}

// The segments' sums, added in their order, go to the first.
void add_segments(const WeightPlan& plan, int64_t floats, float* acc) {
  const int64_t stride = plan.tiles() * plan.tile_floats();
  for (int64_t segment = 1; segment < plan.segments; ++segment) {
    const float* other = acc + segment * stride;
#pragma omp simd
    for (int64_t i = 0; i < floats; ++i) acc[i] += other[i];
  }
}

void run_all(const Kernels& kernels, const WeightPlan& plan, const Inputs& x, const Output& out,
             const ParallelFor& parallel_for) {
  const int64_t tiles = plan.tiles(), floats = plan.tile_floats();
  // Blocks of the codes inside, because the gradient has four times their bytes.
  const auto inner = static_cast<int64_t>(plan.input.size());
  const auto item = [&](int64_t i, float* acc) {
    const Block& grad = plan.grad[static_cast<size_t>(i / inner)];
    const Block& input = plan.input[static_cast<size_t>(i % inner)];
    return plan.rows_are_grad ? Item{grad, input, acc} : Item{input, grad, acc};
  };
  const auto sums = [](int64_t count) {
    return reinterpret_cast<float*>(
        scratch(Scratch::partial_sums, static_cast<size_t>(count) * sizeof(float)));
  };
  if (plan.segments == 1) {
    parallel_for(tiles, [&](int64_t begin, int64_t end) {
      float* acc = sums(floats);
      for (int64_t i = begin; i < end; ++i) {
        run_segment(kernels, plan, x, 0, item(i, acc));
        write(kernels, plan, item(i, acc), out);
      }
    });
    return;
  }
  float* acc = sums(plan.segments * tiles * floats);
  parallel_for(plan.segments * tiles, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      run_segment(kernels, plan, x, i / tiles, item(i % tiles, acc + i * floats));
    }
  });
  parallel_for(tiles, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Item sum = item(i, acc + i * floats);
      add_segments(plan, plan.steps() * sum.rows.count * sum.columns.width, sum.acc);
      write(kernels, plan, sum, out);
    }
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
