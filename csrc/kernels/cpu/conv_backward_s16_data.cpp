// The data gradient: for every input position the sum over the taps that reach it.
//
// Note [Residue classes]
// With a stride, an input position h = p + stride * i is reached by the taps r for which
// p + padding - r * dilation is a multiple of the stride, from the output position
// i + (p + padding - r * dilation) / stride. Positions of one residue p per axis share their taps,
// and every tap belongs to one residue. The gradient gets a border of zeros as wide as the largest
// excursion, so that no tile has to look at edges.

#include "kernels/cpu/conv_backward_s16_data.h"

#include <algorithm>
#include <cstring>

#include "numerics/float_order.h"

namespace qat::kernels::s16 {
namespace {

struct Tap {
  int64_t index = 0;   // of the kernel along this axis
  int64_t offset = 0;  // output position minus i
};

// One residue along one axis.
struct Residue {
  int64_t first = 0, count = 0;
  std::vector<Tap> taps;
};

struct Axis {
  std::vector<Residue> residues;
  int64_t border = 0;  // zeros in front of the gradient
  int64_t size = 0;    // with the borders on both sides
};

Axis make_axis(const ConvShape& s, size_t d) {
  Axis axis;
  int64_t last = s.out_size[d] - 1;
  for (int64_t p = 0; p < std::min(s.stride[d], s.in_size[d]); ++p) {
    Residue residue{p, (s.in_size[d] - p + s.stride[d] - 1) / s.stride[d], {}};
    for (int64_t r = 0; r < s.kernel[d]; ++r) {
      const int64_t distance = p + s.padding[d] - r * s.dilation[d];
      if (distance % s.stride[d] != 0) continue;
      const int64_t offset = distance / s.stride[d];
      residue.taps.push_back({r, offset});
      axis.border = std::max(axis.border, -offset);
      last = std::max(last, residue.count - 1 + offset);
    }
    axis.residues.push_back(residue);
  }
  axis.size = axis.border + last + 1;
  return axis;
}

// Input positions with the same taps.
struct Class {
  const Residue* h = nullptr;
  const Residue* w = nullptr;
  int64_t first_tap = 0;             // in the packed weights
  std::vector<int64_t> tap_offsets;  // in words
  int64_t positions = 0, first_group = 0;
};

struct Plan {
  const ConvShape& shape;
  Axis h, w;
  int64_t pairs = 0;  // of output channels
  std::vector<Class> classes;
  std::vector<std::array<int64_t, 2>> taps;  // kernel indices in packed order
  std::vector<Block> blocks;
  int64_t groups = 0;

  explicit Plan(const ConvShape& s)
      : shape(s),
        h(make_axis(s, 0)),
        w(make_axis(s, 1)),
        pairs((s.out_channels + 1) / 2),
        blocks(split_channels(s.in_channels, kLaneUnit, kBlockColumns)) {
    for (const Residue& rh : h.residues) {
      for (const Residue& rw : w.residues) add_class(rh, rw);
    }
  }

  int64_t block_offset(const Block& block) const { return taps_count() * pairs * block.offset; }
  int64_t taps_count() const { return static_cast<int64_t>(taps.size()); }

 private:
  void add_class(const Residue& rh, const Residue& rw) {
    Class c{&rh, &rw, taps_count(), {}, shape.batch * rh.count * rw.count, groups};
    for (const Tap& th : rh.taps) {
      for (const Tap& tw : rw.taps) {
        taps.push_back({th.index, tw.index});
        c.tap_offsets.push_back((th.offset * w.size + tw.offset) * pairs);
      }
    }
    groups += (c.positions + kGroup - 1) / kGroup;
    classes.push_back(c);
  }
};

// [block][tap][pair of output channels][input channel of the block].
void pack_weights(const Kernels& kernels, const Plan& plan, const int8_t* weight,
                  const std::array<int64_t, 4>& strides, uint32_t* out,
                  const ParallelFor& parallel_for) {
  parallel_for(plan.pairs, [&](int64_t begin, int64_t end) {
    for (int64_t pair = begin; pair < end; ++pair) {
      const bool has_high = 2 * pair + 1 < plan.shape.out_channels;
      for (const Block& block : plan.blocks) {
        for (int64_t tap = 0; tap < plan.taps_count(); ++tap) {
          const auto& [r, s] = plan.taps[static_cast<size_t>(tap)];
          const int8_t* low = weight + 2 * pair * strides[0] + block.first * strides[1] +
                              r * strides[2] + s * strides[3];
          PairSource source{1, strides[1], block.count, block.width};
          uint32_t* to = out + plan.block_offset(block) + (tap * plan.pairs + pair) * block.width;
          // The partner of an odd last channel meets a gradient of zero.
          kernels.pair_weights(source, low, has_high ? low + strides[0] : low, to);
        }
      }
    }
  });
}

// The rounded gradient with its border: [batch][plan.h.size][plan.w.size][2 * pairs].
void round_grad(const Kernels& kernels, const Plan& plan, const float* grad,
                const float* weight_scale, float inverse, int16_t* out,
                const ParallelFor& parallel_for) {
  const ConvShape& s = plan.shape;
  const int64_t channels = s.out_channels, padded = 2 * plan.pairs;
  // One long loop per row where the channels need no padding, whatever their number.
  const bool even = channels == padded;
  const int64_t repeats = even ? std::clamp<int64_t>(512 / channels, 1, s.out_size[1]) : 1;
  std::vector<float> factor;
  for (int64_t i = 0; i < repeats; ++i) {
    factor.insert(factor.end(), weight_scale, weight_scale + channels);
  }
  const int64_t width = repeats * channels, row = plan.w.size * padded;
  const int64_t pieces = even ? 1 : s.out_size[1];
  const int64_t piece = s.out_size[1] / pieces * channels;
  parallel_for(s.batch * plan.h.size, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      int16_t* to = out + i * row;
      const int64_t n = i / plan.h.size, oh = i % plan.h.size - plan.h.border;
      if (oh < 0 || oh >= s.out_size[0]) {
        std::fill(to, to + row, int16_t{0});
        continue;
      }
      const float* from = grad + (n * s.out_size[0] + oh) * s.out_size[1] * channels;
      int16_t* inner = to + plan.w.border * padded;
      std::fill(to, inner, int16_t{0});
      for (int64_t p = 0; p < pieces; ++p, from += piece, inner += even ? piece : padded) {
        if (!even) inner[channels] = 0;
        kernels.round_grad(from, piece, factor.data(), width, inverse, inner);
      }
      std::fill(inner, to + row, int16_t{0});
    }
  });
}

struct Operands {
  const uint32_t* grad = nullptr;
  const uint32_t* weights = nullptr;
  float scale = 0.0f;
  float* d_input = nullptr;
};

// Addresses of the positions of one group.
Group make_group(const Plan& plan, const Class& c, int64_t index, const uint32_t* source) {
  const ConvShape& s = plan.shape;
  const int64_t begin = (index - c.first_group) * kGroup;
  Group group;
  group.count = std::min(kGroup, c.positions - begin);
  for (int64_t i = 0; i < group.count; ++i) {
    const int64_t at = begin + i, j = at % c.w->count, row = at / c.w->count;
    const int64_t k = row % c.h->count, n = row / c.h->count;
    const int64_t h = c.h->first + k * s.stride[0], w = c.w->first + j * s.stride[1];
    group.grad[static_cast<size_t>(i)] =
        source +
        ((n * plan.h.size + k + plan.h.border) * plan.w.size + j + plan.w.border) * plan.pairs;
    group.d_input[static_cast<size_t>(i)] =
        ((n * s.in_size[0] + h) * s.in_size[1] + w) * s.in_channels;
  }
  return group;
}

// One chunk of output channels for all positions of a group.
void run_tiles(const Kernels& kernels, const Group& group, const Block& block, DataTile tile,
               float* acc) {
  const uint32_t* weights = tile.weights;
  float* result = tile.result;
  for_tiles(kernels, group.count, block.width,
            [&](int64_t column, int vectors, int64_t begin, int64_t end) {
              tile.weights = weights + column;
              tile.result = result == nullptr ? nullptr : result + column;
              tile.positions = group.grad.data() + begin;
              tile.offsets = group.d_input.data() + begin;
              tile.acc = acc + begin * block.width + column;
              kernels.data_tile[vectors][end - begin](tile);
            });
}

void run_all(const Kernels& kernels, const Plan& plan, const Operands& x,
             const ParallelFor& parallel_for) {
  const auto blocks = static_cast<int64_t>(plan.blocks.size());
  parallel_for(blocks * plan.groups, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Block& block = plan.blocks[static_cast<size_t>(i / plan.groups)];
      const int64_t index = i % plan.groups;
      size_t at = plan.classes.size() - 1;
      while (plan.classes[at].first_group > index) --at;
      const Class& c = plan.classes[at];
      const BlockWeights weights{
          x.weights + plan.block_offset(block) + c.first_tap * plan.pairs * block.width,
          static_cast<int64_t>(c.tap_offsets.size()), plan.pairs};
      run_block(kernels, make_group(plan, c, index, x.grad), block, weights, c.tap_offsets, x.scale,
                x.d_input);
    }
  });
}

}  // namespace

void run_block(const Kernels& kernels, const Group& group, const Block& block,
               const BlockWeights& weights, const std::vector<int64_t>& tap_offsets, float scale,
               float* d_input) {
  alignas(64) float acc[kGroup * kBlockColumns];
  const int64_t taps = weights.taps;
  const int64_t chunk = taps == 0 ? 1 : std::max<int64_t>(1, kDataFlush / taps);
  if (taps == 0) std::fill(std::begin(acc), std::end(acc), 0.0f);
  // Sums of one chunk that fill their vectors need no stop in acc.
  const bool direct = taps > 0 && chunk >= weights.pairs && block.count == block.width;
  std::vector<int64_t> offsets(tap_offsets);
  for (int64_t begin = 0; begin < weights.pairs && taps > 0; begin += chunk) {
    DataTile tile;
    tile.tap_offsets = offsets.data();
    tile.taps = taps;
    tile.pairs = std::min(chunk, weights.pairs - begin);
    tile.weights = weights.words + begin * block.width;
    tile.tap_stride = weights.pairs * block.width;
    tile.pair_stride = block.width;
    tile.first = begin == 0;
    tile.result = direct ? d_input + block.first : nullptr;
    tile.scale = scale;
    run_tiles(kernels, group, block, tile, acc);
    for (int64_t& offset : offsets) offset += tile.pairs;
  }
  if (direct) return;
  // Positions that no tap reaches are zero whatever the gradient is.
  kernels.store_rows(acc, block.width, taps == 0 ? 0.0f : scale, group.d_input.data(), group.count,
                     block.count, d_input + block.first);
}

// Rounding keeps order: the product of the largest gradient is the largest product.
float largest_product(const std::vector<int32_t>& absmax, const float* factor) {
  int32_t largest = 0;
  for (size_t i = 0; i < absmax.size(); ++i) {
    const float product = numerics::mul(numerics::from_bits(absmax[i]), factor[i]);
    largest = std::max(largest, numerics::float_bits(product) & 0x7fffffff);
  }
  return numerics::from_bits(largest);
}

void conv_backward_data(const Kernels& kernels, const ConvShape& shape, const float* grad,
                        const int8_t* weight, const std::array<int64_t, 4>& weight_strides,
                        const float* weight_scale, float* d_input,
                        const ParallelFor& parallel_for) {
  const Plan plan(shape);
  auto* packed = reinterpret_cast<uint32_t*>(
      scratch(Scratch::other_operand,
              static_cast<size_t>(plan.taps_count() * plan.pairs * total_width(plan.blocks)) * 4));
  pack_weights(kernels, plan, weight, weight_strides, packed, parallel_for);
  if (is_pointwise(shape)) {
    pointwise_backward_data(kernels, shape, grad, packed, weight_scale, d_input, parallel_for);
    return;
  }
  const auto absmax = grad_absmax(kernels, shape, grad, parallel_for);
  const Rounding rounding = rounding_for(largest_product(absmax, weight_scale));
  auto* rounded = reinterpret_cast<int16_t*>(
      scratch(Scratch::operand,
              static_cast<size_t>(shape.batch * plan.h.size * plan.w.size * plan.pairs) * 4));
  round_grad(kernels, plan, grad, weight_scale, rounding.inverse, rounded, parallel_for);
  run_all(kernels, plan, {reinterpret_cast<uint32_t*>(rounded), packed, rounding.scale, d_input},
          parallel_for);
}

}  // namespace qat::kernels::s16
