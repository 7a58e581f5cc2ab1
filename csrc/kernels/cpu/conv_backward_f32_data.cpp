// The data gradient: every input position adds, tap by tap, the output positions that it reaches.

#include <algorithm>
#include <cstring>

#include "kernels/cpu/conv_backward_f32_kernels.h"

namespace qat::kernels::f32 {
namespace {

constexpr int64_t kGroup = 192;  // positions that reuse a chunk of weights
constexpr int64_t kChunk = 128;  // output channels of such a chunk, and of one partial sum

// Output coordinate that a tap takes an input coordinate to, or -1: [tap][input coordinate].
std::vector<int64_t> reached(const ConvShape& s, size_t d) {
  std::vector<int64_t> outputs;
  for (int64_t tap = 0; tap < s.kernel[d]; ++tap) {
    for (int64_t i = 0; i < s.in_size[d]; ++i) {
      const int64_t distance = i + s.padding[d] - tap * s.dilation[d];
      const bool hit =
          distance >= 0 && distance % s.stride[d] == 0 && distance / s.stride[d] < s.out_size[d];
      outputs.push_back(hit ? distance / s.stride[d] : -1);
    }
  }
  return outputs;
}

struct Weights {
  const int8_t* codes = nullptr;
  std::array<int64_t, 4> strides{};
  const float* scale = nullptr;
};

struct Plan {
  const ConvShape& shape;
  std::vector<int64_t> rows, columns;  // reached()
  std::vector<Block> blocks;
  int64_t positions = 0, groups = 0;

  explicit Plan(const ConvShape& s)
      : shape(s),
        rows(reached(s, 0)),
        columns(reached(s, 1)),
        blocks(split_channels(s.in_channels, kLaneUnit, kBlockColumns)),
        positions(s.batch * s.in_size[0] * s.in_size[1]),
        groups((positions + kGroup - 1) / kGroup) {}
};

// The positions of a group that one tap reaches.
struct Reached {
  std::array<const float*, kGroup> grad;
  std::array<float*, kGroup> acc;
  int64_t count = 0;
};

void find_reached(const Plan& plan, int64_t tap, int64_t begin, int64_t end, const float* grad,
                  float* acc, int64_t width, Reached& found) {
  const ConvShape& s = plan.shape;
  const int64_t* rows = plan.rows.data() + tap / s.kernel[1] * s.in_size[0];
  const int64_t* columns = plan.columns.data() + tap % s.kernel[1] * s.in_size[1];
  found.count = 0;
  for (int64_t at = begin; at < end;) {
    const int64_t w = at % s.in_size[1], line = at / s.in_size[1];
    const int64_t oh = rows[line % s.in_size[0]], n = line / s.in_size[0];
    const int64_t last = std::min(s.in_size[1], w + end - at);
    const int64_t first = (n * s.out_size[0] + oh) * s.out_size[1];
    for (int64_t j = w; oh >= 0 && j < last; ++j) {
      if (columns[j] < 0) continue;
      const auto i = static_cast<size_t>(found.count++);
      found.grad[i] = grad + (first + columns[j]) * s.out_channels;
      found.acc[i] = acc + (at - begin + j - w) * width;
    }
    at += last - w;
  }
}

// The rows of a tile are read side by side, which hides from the processor that they follow one
// another in memory. Under a 1x1 kernel, whose gradient comes from there, the next tile's rows are
// asked for ahead (16 -> 96 channels at 56x56: both gradients 1.1 of oneDNN's time instead of 1.2).
void prefetch(const Reached& reached, int64_t begin, int64_t end, int64_t channel, int64_t count) {
  constexpr int64_t kLine = 16;  // floats
  for (int64_t r = begin; r < std::min(end, reached.count); ++r) {
    const float* grad = reached.grad[static_cast<size_t>(r)] + channel;
    for (int64_t i = 0; i < count; i += kLine) __builtin_prefetch(grad + i);
  }
}

// One chunk of output channels for the positions that a tap reaches.
void add_chunk(const Kernels& kernels, const Reached& reached, int64_t first_channel,
               DataTile tile) {
  std::array<const float*, kMaxRows> rows;
  std::array<float*, kMaxRows> acc;
  const float* weights = tile.columns;
  tile.rows = rows.data();
  tile.acc = acc.data();
  for_tiles(kernels, reached.count, tile.width,
            [&](int64_t column, int vectors, int64_t begin, int64_t end) {
              for (int64_t r = begin; r < end; ++r) {
                const auto to = static_cast<size_t>(r - begin), from = static_cast<size_t>(r);
                rows[to] = reached.grad[from] + first_channel;
                acc[to] = reached.acc[from] + column;
              }
              tile.columns = weights + column;
              if (tile.first) prefetch(reached, end, 2 * end - begin, first_channel, tile.count);
              kernels.data_tile[vectors][end - begin](tile);
            });
}

struct Place {  // of a group's sums
  float* first = nullptr;
  int64_t stride = 0;
};

// d_input of one group for one block of input channels.
void run_group(const Kernels& kernels, const Plan& plan, const Block& block, int64_t group,
               const float* grad, const Weights& w, float* d_input) {
  const ConvShape& s = plan.shape;
  const int64_t taps = s.kernel[0] * s.kernel[1];
  const int64_t begin = group * kGroup, end = std::min(plan.positions, begin + kGroup);
  auto* weights = reinterpret_cast<float*>(
      scratch(Scratch::operand, (kGroup + kChunk) * kBlockColumns * sizeof(float)));
  const Place result{d_input + begin * s.in_channels + block.first, s.in_channels};
  const bool in_place = block.count == block.width;
  const Place sums = in_place ? result : Place{weights + kChunk * kBlockColumns, block.width};
  const auto bytes = static_cast<size_t>(block.width) * sizeof(float);
  Reached reached;
  for (int64_t tap = 0; tap < taps; ++tap) {
    find_reached(plan, tap, begin, end, grad, sums.first, sums.stride, reached);
    const bool all = taps == 1 && reached.count == end - begin;
    for (int64_t i = 0; tap == 0 && !all && i < end - begin; ++i) {
      std::memset(sums.first + i * sums.stride, 0, bytes);
    }
    const int8_t* codes = w.codes + block.first * w.strides[1] + tap / s.kernel[1] * w.strides[2] +
                          tap % s.kernel[1] * w.strides[3];
    for (int64_t k = 0; reached.count > 0 && k < s.out_channels; k += kChunk) {
      const int64_t count = std::min(kChunk, s.out_channels - k);
      for (int64_t i = k; i < k + count; ++i) {
        kernels.scale_weights(codes + i * w.strides[0], block.count, block.width, w.scale[i],
                              weights + (i - k) * block.width);
      }
      add_chunk(kernels, reached, k,
                {nullptr, nullptr, weights, block.width, count, all && k == 0});
    }
  }
  for (int64_t i = 0; !in_place && i < end - begin; ++i) {
    std::memcpy(result.first + i * result.stride, sums.first + i * sums.stride,
                static_cast<size_t>(block.count) * sizeof(float));
  }
}

// The codes as [tap][k][c], where the channels of a tap are apart in memory.
Weights with_adjacent_channels(const ConvShape& s, const Weights& w,
                               const ParallelFor& parallel_for) {
  if (w.strides[1] == 1) return w;
  const int64_t taps = s.kernel[0] * s.kernel[1], k = s.out_channels, c = s.in_channels;
  auto* copy =
      reinterpret_cast<int8_t*>(scratch(Scratch::other_operand, static_cast<size_t>(taps * k * c)));
  parallel_for(k, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t tap = 0; tap < taps; ++tap) {
        const int8_t* from = w.codes + i * w.strides[0] + tap / s.kernel[1] * w.strides[2] +
                             tap % s.kernel[1] * w.strides[3];
        int8_t* to = copy + (tap * k + i) * c;
        for (int64_t j = 0; j < c; ++j) to[j] = from[j * w.strides[1]];
      }
    }
  });
  return {copy, {c, 1, s.kernel[1] * k * c, k * c}, w.scale};
}

}  // namespace

void conv_backward_data(const Kernels& kernels, const ConvShape& shape, const float* grad,
                        const int8_t* weight, const std::array<int64_t, 4>& weight_strides,
                        const float* weight_scale, float* d_input,
                        const ParallelFor& parallel_for) {
  const Plan plan(shape);
  const Weights weights =
      with_adjacent_channels(shape, {weight, weight_strides, weight_scale}, parallel_for);
  const auto blocks = static_cast<int64_t>(plan.blocks.size());
  parallel_for(blocks * plan.groups, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      run_group(kernels, plan, plan.blocks[static_cast<size_t>(i / plan.groups)], i % plan.groups,
                grad, weights, d_input);
    }
  });
}

}  // namespace qat::kernels::f32
