#include <algorithm>

#include "kernels/cpu/conv_backward_s16_weight.h"
#include "kernels/cpu/conv_backward_weight.h"
#include "numerics/float_order.h"

namespace qat::kernels::s16 {
namespace {

WeightAxis make_axis(const ConvShape& s, size_t d, int64_t outputs) {
  if (s.kernel[d] == 1) return {s.stride[d], 1, 1, s.padding[d], outputs};
  const int64_t size = (outputs - 1) * s.stride[d] + (s.kernel[d] - 1) * s.dilation[d] + 1;
  return {1, s.stride[d], s.dilation[d], s.padding[d], size};
}

// The gradients of one run for one half of its pair; zeros behind the last row.
const float* run_source(const WeightPlan& plan, const Run& run, int64_t which, const float* grad,
                        const float* zeros) {
  const ConvShape& s = plan.shape;
  const int64_t row = run.grad / s.out_size[1], column = run.grad % s.out_size[1];
  const auto [n, first] = plan.member(row / plan.out_rows, which);
  const int64_t oh = first + row % plan.out_rows;
  if (oh >= s.out_size[0]) return zeros;
  return grad + ((n * s.out_size[0] + oh) * s.out_size[1] + column) * s.out_channels;
}

}  // namespace

WeightPlan::WeightPlan(const ConvShape& s)
    : shape(s),
      halves(s.batch % 2 != 0),
      pairs(halves ? s.batch : s.batch / 2),
      out_rows(halves ? (s.out_size[0] + 1) / 2 : s.out_size[0]),
      h(make_axis(s, 0, out_rows)),
      w(make_axis(s, 1, s.out_size[1])),
      rows_are_grad(choose_rows(s, kLaneUnit, kMaxVectors)) {
  const auto blocks = [](int64_t channels, bool rows) {
    return rows ? split_channels(channels, 1, kBlockRows)
                : split_channels(channels, kLaneUnit, kBlockColumns);
  };
  grad = {blocks(s.out_channels, rows_are_grad), pairs * out_rows * s.out_size[1]};
  input = {blocks(s.in_channels, !rows_are_grad), pairs * h.size * w.size};
  if (!rows_are_grad && s.dilation[1] == 1 && s.in_channels * s.kernel[1] <= kBlockRows) {
    merged = s.kernel[1];
    input.blocks[0].count *= merged;
  }
  make_runs();
  segments = count_segments(tiles(), flushes());
}

void WeightPlan::make_runs() {
  const int64_t width = shape.out_size[1];
  for (int64_t at = 0; at < grad.positions;) {
    const int64_t j = at % width, row = at / width;
    const int64_t to_flush = kWeightFlush - at % kWeightFlush;
    if (at % kWeightFlush == 0) chunks.push_back(runs.size());
    const int64_t count = std::min({width - j, to_flush, grad.positions - at});
    const int64_t image = row / out_rows, i = row % out_rows;
    runs.push_back({at, (image * h.size + i * h.step) * w.size + j * w.step, count});
    at += count;
  }
  chunks.push_back(runs.size());
}

void pack_grad(const Kernels& kernels, const WeightPlan& plan, const float* grad, uint32_t* out,
               float* scales, const ParallelFor& parallel_for) {
  const ConvShape& s = plan.shape;
  const auto blocks = static_cast<int64_t>(plan.grad.blocks.size());
  const std::vector<float> zeros(static_cast<size_t>(s.out_size[1] * s.out_channels), 0.0f);
  const auto source = [&](const Run& run, int64_t which, const Block& b) {
    return run_source(plan, run, which, grad, zeros.data()) + b.first;
  };
  parallel_for(plan.flushes() * blocks, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Block& b = plan.grad.blocks[static_cast<size_t>(i % blocks)];
      const auto chunk = static_cast<size_t>(i / blocks);
      const Run* first = plan.runs.data() + plan.chunks[chunk];
      const Run* last = plan.runs.data() + plan.chunks[chunk + 1];
      std::array<int32_t, kBlockColumns> maxima{};
      for (const Run* run = first; run != last; ++run) {
        const PairSource x{run->count, s.out_channels, b.count, b.width};
        kernels.absmax_pair(x, source(*run, 0, b), source(*run, 1, b), maxima.data());
      }
      std::array<float, kBlockColumns> inverse{};
      float* scale = scales + static_cast<int64_t>(chunk) * plan.grad.width() + b.offset;
      for (size_t k = 0; k < static_cast<size_t>(b.width); ++k) {
        const Rounding rounding = rounding_for(numerics::from_bits(maxima[k]));
        scale[k] = rounding.scale;
        inverse[k] = rounding.inverse;
      }
      for (const Run* run = first; run != last; ++run) {
        const PairSource x{run->count, s.out_channels, b.count, b.width};
        kernels.pair_grad(x, source(*run, 0, b), source(*run, 1, b), inverse.data(),
                          plan.grad.block(out, b) + run->grad * b.width);
      }
    }
  });
}

void pack_codes(const Kernels& kernels, const WeightPlan& plan, const Codes& codes, uint32_t* out,
                const ParallelFor& parallel_for) {
  const ConvShape& s = plan.shape;
  const WeightAxis &h = plan.h, &w = plan.w;
  const int64_t left = std::min(w.size, (w.padding + w.gather - 1) / w.gather);
  const int64_t right = std::clamp((s.in_size[1] - 1 + w.padding) / w.gather + 1, left, w.size);
  const int64_t row = s.in_size[1] * s.in_channels;
  const int64_t first = (left * w.gather - w.padding) * s.in_channels;
  const auto outside = static_cast<uint8_t>(codes.zero_point ^ codes.flip);
  const std::vector<uint8_t> padding(static_cast<size_t>(row), outside);
  parallel_for(plan.pairs * h.size, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const uint8_t* sources[2];
      for (int64_t which = 0; which < 2; ++which) {
        const auto [n, first_row] = plan.member(i / h.size, which);
        const int64_t at = (first_row * h.step + i % h.size) * h.gather - h.padding;
        const bool inside = at >= 0 && at < s.in_size[0];
        sources[which] =
            (inside ? codes.data + (n * s.in_size[0] + at) * row : padding.data()) + first;
      }
      for (const Block& b : plan.input.blocks) {
        uint32_t* to = plan.input.block(out, b) + i * w.size * b.width;
        std::fill(to, to + left * b.width, 0u);
        std::fill(to + right * b.width, to + w.size * b.width, 0u);
        const PairSource source{right - left, w.gather * s.in_channels, b.count / plan.merged,
                                b.width};
        kernels.pair_codes(source, sources[0] + b.first, sources[1] + b.first, codes.flip,
                           codes.zero_point, to + left * b.width);
      }
    }
  });
}

}  // namespace qat::kernels::s16
