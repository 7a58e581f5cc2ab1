// The data gradient of a 1x1 kernel without padding, in one pass over the gradient.
//
// Note [One scale per group]
// Positions do not meet in a sum here, so each group of positions is rounded to its own largest
// magnitude: the gradient is read once, and the rounding is at least as fine as with one scale for
// the whole tensor. A magnitude that is not finite makes its group NaN.

#include <algorithm>
#include <limits>

#include "kernels/cpu/conv_backward_s16_data.h"
#include "numerics/float_order.h"

namespace qat::kernels::s16 {
namespace {

constexpr int64_t kItems = 16;  // groups that keep the threads busy where there are few positions
constexpr int64_t kSmallestGroup = 24;

struct Plan {
  const ConvShape& shape;
  int64_t positions = 0, group = 0, groups = 0;
  int64_t channels = 0, pairs = 0;  // of the gradient
  std::vector<float> factor;        // weight scales, repeated
  int64_t repeats = 1;

  Plan(const ConvShape& s, const float* weight_scale)
      : shape(s),
        positions(s.batch * s.out_size[0] * s.out_size[1]),
        group(std::clamp(positions / kItems, kSmallestGroup, kGroup)),
        groups((positions + group - 1) / group),
        channels(s.out_channels),
        pairs((channels + 1) / 2),
        repeats(channels % 2 == 0 ? std::clamp<int64_t>(512 / channels, 1, group) : 1) {
    for (int64_t i = 0; i < repeats; ++i) {
      factor.insert(factor.end(), weight_scale, weight_scale + channels);
    }
  }

  // Where the gradient of one output position belongs in d_input; the end of d_input for the
  // position behind the last.
  int64_t d_input_offset(int64_t position) const {
    const ConvShape& s = shape;
    const int64_t w = position % s.out_size[1], row = position / s.out_size[1];
    const int64_t h = row % s.out_size[0], n = row / s.out_size[0];
    return ((n * s.in_size[0] + h * s.stride[0]) * s.in_size[1] + w * s.stride[1]) * s.in_channels;
  }
};

// Rounds the gradient of one group to words and returns the scale of its codes.
float round_group(const Kernels& kernels, const Plan& plan, const float* grad, int64_t count,
                  std::vector<int32_t>& maxima, int16_t* out) {
  const int64_t width = plan.repeats * plan.channels;
  std::fill(maxima.begin(), maxima.end(), 0);
  kernels.absmax(grad, count * plan.channels, width, maxima.data());
  const Rounding rounding = rounding_for(largest_product(maxima, plan.factor.data()));
  if (plan.channels % 2 == 0) {
    kernels.round_grad(grad, count * plan.channels, plan.factor.data(), width, rounding.inverse,
                       out);
    return rounding.scale;
  }
  for (int64_t i = 0; i < count; ++i, out += plan.channels + 1) {
    kernels.round_grad(grad + i * plan.channels, plan.channels, plan.factor.data(), width,
                       rounding.inverse, out);
    out[plan.channels] = 0;
  }
  return rounding.scale;
}

// Positions that the stride leaves out: zeros between the group's positions and behind each.
void clear_gaps(const Plan& plan, int64_t begin, int64_t end, float* d_input) {
  if (plan.shape.stride[0] == 1 && plan.shape.stride[1] == 1) return;
  const int64_t all = plan.shape.batch * plan.shape.in_size[0] * plan.shape.in_size[1];
  for (int64_t i = begin; i < end; ++i) {
    const int64_t next =
        i + 1 == plan.positions ? all * plan.shape.in_channels : plan.d_input_offset(i + 1);
    std::fill(d_input + plan.d_input_offset(i) + plan.shape.in_channels, d_input + next, 0.0f);
  }
}

}  // namespace

bool is_pointwise(const ConvShape& s) {
  return s.kernel[0] * s.kernel[1] == 1 && s.padding[0] == 0 && s.padding[1] == 0;
}

void pointwise_backward_data(const Kernels& kernels, const ConvShape& shape, const float* grad,
                             const uint32_t* weights, const float* weight_scale, float* d_input,
                             const ParallelFor& parallel_for) {
  const Plan plan(shape, weight_scale);
  const auto blocks = split_channels(shape.in_channels, kLaneUnit, kBlockColumns);
  const std::vector<int64_t> one_tap{0};
  parallel_for(plan.groups, [&](int64_t first, int64_t last) {
    std::vector<int32_t> maxima(plan.factor.size());
    std::vector<uint32_t> rounded(static_cast<size_t>(plan.group * plan.pairs));
    for (int64_t i = first; i < last; ++i) {
      const int64_t begin = i * plan.group, end = std::min(plan.positions, begin + plan.group);
      const float scale = round_group(kernels, plan, grad + begin * plan.channels, end - begin,
                                      maxima, reinterpret_cast<int16_t*>(rounded.data()));
      Group group;
      group.count = end - begin;
      for (int64_t p = 0; p < group.count; ++p) {
        group.grad[static_cast<size_t>(p)] = rounded.data() + p * plan.pairs;
        group.d_input[static_cast<size_t>(p)] = plan.d_input_offset(begin + p);
      }
      for (const Block& block : blocks) {
        const BlockWeights w{weights + block.offset * plan.pairs, 1, plan.pairs};
        run_block(kernels, group, block, w, one_tap, scale, d_input);
      }
      clear_gaps(plan, begin, end, d_input);
    }
  });
}

}  // namespace qat::kernels::s16
