#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <algorithm>

#include "numerics/learned.h"
#include "ops/check_quantize.h"
#include "ops/stretches.h"

namespace qat::ops {
namespace {

using kernels::Quantizer;
using ThreeTensors = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

at::Tensor zero_codes(const LearnedArguments& a) {
  const auto learned = a.zero_point.contiguous();
  auto codes = at::empty({learned.numel()}, learned.options().dtype(at::kInt));
  const float* from = learned.const_data_ptr<float>();
  auto* to = codes.mutable_data_ptr<int32_t>();
  for (int64_t c = 0; c < codes.numel(); ++c) {
    to[c] = static_cast<int32_t>(numerics::learned_zero_code(
        from[c], static_cast<float>(a.quant_min), static_cast<float>(a.quant_max)));
  }
  return codes;
}

// Repeated to tiles, one tile for each of s.channels.
QuantizerArrays tiles_of(const QuantizerArrays& p, const Stretches& s) {
  if (s.channels == 1) return repeat_parameters(p, s.tile);
  QuantizerArrays tiles;
  for (size_t c = 0; c < p.scale.size(); ++c) {
    tiles.scale.insert(tiles.scale.end(), s.tile.width, p.scale[c]);
    tiles.inverse_scale.insert(tiles.inverse_scale.end(), s.tile.width, p.inverse_scale[c]);
    tiles.zero_point.insert(tiles.zero_point.end(), s.tile.width, p.zero_point[c]);
  }
  return tiles;
}

struct Operands {
  const float *grad, *x;
  float* out;
};

// Sums of scale and of zero_point for each block of each stretch: [blocks, 2, tile.channels].
std::vector<double> block_sums(const Stretches& s, Quantizer q, const Operands& operands,
                               bool clipped_only) {
  const int64_t width = s.tile.width, channels = s.tile.channels;
  std::vector<double> partial(static_cast<size_t>(s.count * s.blocks.count * 2 * channels));
  const int64_t step = std::min(s.length, s.blocks.elements);
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, step));
  at::parallel_for(0, s.count * s.blocks.count, grain, [&](int64_t first, int64_t last) {
    std::vector<double> columns(static_cast<size_t>(2 * width));
    for (int64_t item = first; item < last; ++item) {
      const int64_t stretch = item / s.blocks.count;
      const int64_t begin = item % s.blocks.count * s.blocks.elements;
      const int64_t n = std::min(s.blocks.elements, s.length - begin);
      const int64_t at = stretch * s.length + begin, tile = stretch % s.channels * width;
      const Quantizer of_tile{q.scale + tile,
                              q.inverse_scale + tile,
                              q.zero_point + tile,
                              q.quant_min,
                              q.quant_max,
                              q.width,
                              q.streams};
      std::fill(columns.begin(), columns.end(), 0.0);
      kernels::kernels().fake_quantize_learned_backward(
          of_tile, operands.grad + at, operands.x + at, operands.out + at, n,
          {columns.data(), columns.data() + width, clipped_only});
      double* to = partial.data() + item * 2 * channels;
      kernels::fold_tile(columns.data(), s.tile, to);
      kernels::fold_tile(columns.data() + width, s.tile, to + channels);
    }
  });
  return partial;
}

// Adds the blocks of each channel in ascending order.
std::tuple<at::Tensor, at::Tensor> add_blocks(const Stretches& s,
                                              const std::vector<double>& partial,
                                              const LearnedArguments& a, const float* scale) {
  const auto count = static_cast<size_t>(a.scale.numel());
  std::vector<double> of_scale(count), of_zero_point(count);
  const auto channels = static_cast<size_t>(s.tile.channels);
  for (size_t item = 0; item * 2 * channels < partial.size(); ++item) {
    const double* part = partial.data() + item * 2 * channels;
    const size_t first = item / static_cast<size_t>(s.blocks.count) % s.channels;
    for (size_t c = 0; c < channels; ++c) {
      of_scale[first + c] += part[c];
      of_zero_point[first + c] += part[channels + c];
    }
  }
  auto d_scale = at::empty_like(a.scale, at::MemoryFormat::Contiguous);
  auto d_zero_point = at::empty_like(a.zero_point, at::MemoryFormat::Contiguous);
  for (size_t c = 0; c < count; ++c) {
    d_scale.mutable_data_ptr<float>()[c] = static_cast<float>(of_scale[c] * a.grad_scale);
    d_zero_point.mutable_data_ptr<float>()[c] =
        static_cast<float>(of_zero_point[c] * -static_cast<double>(scale[c]) * a.grad_scale);
  }
  return {d_scale, d_zero_point};
}

at::Tensor fake_quantize_learned(const at::Tensor& x, const at::Tensor& scale,
                                 const at::Tensor& zero_point, int64_t axis, int64_t quant_min,
                                 int64_t quant_max, double grad_scale, bool clipped_only) {
  const LearnedArguments a{x,         scale,     zero_point, axis,
                           quant_min, quant_max, grad_scale, clipped_only};
  check_fake_quantize_learned("fake_quantize_learned", a);
  return fake_quantized(x, scale, zero_codes(a), axis, quant_min, quant_max);
}

ThreeTensors fake_quantize_learned_backward(const at::Tensor& grad, const at::Tensor& x,
                                            const at::Tensor& scale, const at::Tensor& zero_point,
                                            int64_t axis, int64_t quant_min, int64_t quant_max,
                                            double grad_scale, bool clipped_only) {
  const LearnedArguments a{x,         scale,     zero_point, axis,
                           quant_min, quant_max, grad_scale, clipped_only};
  check_fake_quantize_learned_backward(grad, a);
  auto result = at::empty_like(x, x.options().dtype(at::kFloat));
  const auto real = float_like(x, result), gradient = float_like(grad, result);
  const QuantizerArrays parameters = read_parameters(scale, zero_codes(a));
  const Stretches s = cut(memory_layout(result, axis), scale.numel() == 1);
  const QuantizerArrays tiles = tiles_of(parameters, s);
  const Operands operands{gradient.const_data_ptr<float>(), real.const_data_ptr<float>(),
                          result.mutable_data_ptr<float>()};
  const int64_t step = s.count > 1 ? s.length : s.tile.width;
  const Quantizer q{tiles.scale.data(),
                    tiles.inverse_scale.data(),
                    tiles.zero_point.data(),
                    static_cast<float>(quant_min),
                    static_cast<float>(quant_max),
                    s.tile.width,
                    should_stream(result.numel(), step, Streamed{operands.out, 12})};
  const auto [d_scale, d_zero_point] =
      add_blocks(s, block_sums(s, q, operands, clipped_only), a, parameters.scale.data());
  return {result.to(x.scalar_type()), d_scale, d_zero_point};
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CPU, m) {
  m.impl("fake_quantize_learned", &fake_quantize_learned);
  m.impl("fake_quantize_learned_backward", &fake_quantize_learned_backward);
}

}  // namespace qat::ops
