#include <algorithm>

#include "kernels/cpu/conv_backward_s16_weight.h"
#include "numerics/float_order.h"

namespace qat::kernels::s16 {
namespace {

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
    : WeightLayout(s, {kLaneUnit, kMaxVectors, kBlockRows, kBlockColumns}),
      halves(s.batch % 2 != 0),
      pairs(halves ? s.batch : s.batch / 2),
      out_rows(halves ? (s.out_size[0] + 1) / 2 : s.out_size[0]),
      packed{h.span(out_rows), w.span(s.out_size[1])},
      grad_positions(pairs * out_rows * s.out_size[1]),
      input_positions(pairs * packed[0] * packed[1]) {
  input_inside = !rows_are_grad;
  make_runs();
}

void WeightPlan::make_runs() {
  const int64_t width = shape.out_size[1];
  for (int64_t at = 0; at < grad_positions;) {
    const int64_t j = at % width, row = at / width;
    const int64_t to_flush = kWeightFlush - at % kWeightFlush;
    if (at % kWeightFlush == 0) chunks.push_back(runs.size());
    const int64_t count = std::min({width - j, to_flush, grad_positions - at});
    const int64_t image = row / out_rows, i = row % out_rows;
    runs.push_back({at, (image * packed[0] + i * h.step) * packed[1] + j * w.step, count});
    at += count;
  }
  chunks.push_back(runs.size());
}

void pack_grad(const Kernels& kernels, const WeightPlan& plan, const float* grad, uint32_t* out,
               float* scales, const ParallelFor& parallel_for) {
  const ConvShape& s = plan.shape;
  const auto blocks = static_cast<int64_t>(plan.grad.size());
  const int64_t width = total_width(plan.grad);
  const std::vector<float> zeros(static_cast<size_t>(s.out_size[1] * s.out_channels), 0.0f);
  const auto source = [&](const Run& run, int64_t which, const Block& b) {
    return run_source(plan, run, which, grad, zeros.data()) + b.first;
  };
  parallel_for(plan.flushes() * blocks, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Block& b = plan.grad[static_cast<size_t>(i % blocks)];
      const auto chunk = static_cast<size_t>(i / blocks);
      const Run* first = plan.runs.data() + plan.chunks[chunk];
      const Run* last = plan.runs.data() + plan.chunks[chunk + 1];
      std::array<int32_t, kBlockColumns> maxima{};
      for (const Run* run = first; run != last; ++run) {
        const PairSource x{run->count, s.out_channels, b.count, b.width};
        kernels.absmax_pair(x, source(*run, 0, b), source(*run, 1, b), maxima.data());
      }
      std::array<float, kBlockColumns> inverse{};
      float* scale = scales + static_cast<int64_t>(chunk) * width + b.offset;
      for (size_t k = 0; k < static_cast<size_t>(b.width); ++k) {
        const Rounding rounding = rounding_for(numerics::from_bits(maxima[k]));
        scale[k] = rounding.scale;
        inverse[k] = rounding.inverse;
      }
      for (const Run* run = first; run != last; ++run) {
        const PairSource x{run->count, s.out_channels, b.count, b.width};
        kernels.pair_grad(x, source(*run, 0, b), source(*run, 1, b), inverse.data(),
                          out + plan.grad_positions * b.offset + run->grad * b.width);
      }
    }
  });
}

void pack_codes(const Kernels& kernels, const WeightPlan& plan, const ByteCodes& codes,
                uint32_t* out, const ParallelFor& parallel_for) {
  const ConvShape& s = plan.shape;
  const WeightAxis &h = plan.h, &w = plan.w;
  const int64_t rows = plan.packed[0], columns = plan.packed[1];
  const auto inside = w.inside(s.in_size[1], 0, columns);
  const int64_t left = inside[0], right = inside[1];
  const int64_t line = s.in_size[1] * s.in_channels, first = w.source(left) * s.in_channels;
  const auto outside = static_cast<uint8_t>(codes.zero_point ^ codes.flip);
  const std::vector<uint8_t> padding(static_cast<size_t>(line), outside);
  // The codes of a row of one half of its pair.
  const auto source = [&](int64_t pair, int64_t which, int64_t row) {
    const auto [n, first_row] = plan.member(pair, which);
    const int64_t at = h.source(first_row * h.step + row);
    const bool exists = at >= 0 && at < s.in_size[0];
    return (exists ? codes.data + (n * s.in_size[0] + at) * line : padding.data()) + first;
  };
  parallel_for(plan.pairs * rows, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const uint8_t* low = source(i / rows, 0, i % rows);
      const uint8_t* high = source(i / rows, 1, i % rows);
      for (const Block& b : plan.input) {
        uint32_t* to = out + plan.input_positions * b.offset + i * columns * b.width;
        std::fill(to, to + left * b.width, 0u);
        std::fill(to + right * b.width, to + columns * b.width, 0u);
        const PairSource x{right - left, w.gather * s.in_channels, b.count / plan.merged, b.width};
        kernels.pair_codes(x, low + b.first, high + b.first, codes.flip, codes.zero_point,
                           to + left * b.width);
      }
    }
  });
}

}  // namespace qat::kernels::s16
