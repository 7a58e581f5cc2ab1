// Rule 13 of docs/numerics.md: zero points that are learned, and one pass over the gradient and the
// input, summed in the order of kernels/cpu/tile.h.

#include "kernels/cuda/parameters.cuh"
#include "kernels/cuda/reduce.cuh"
#include "numerics/learned.h"

namespace qat::kernels::cuda {
namespace {

constexpr int kSums = 2;

__global__ void __launch_bounds__(kThreads)
    to_codes(const float* zero_point, int64_t n, float quant_min, float quant_max, int32_t* codes) {
  for (int64_t c = first_item(); c < n; c += item_step()) {
    codes[c] =
        static_cast<int32_t>(numerics::learned_zero_code(zero_point[c], quant_min, quant_max));
  }
}

__global__ void __launch_bounds__(kThreads)
    backward(ChannelQuantizer quantizer, LearnedBlocks g, const float* grad, const float* x,
             bool clipped_only, float* out, double* columns) {
  const QuantizerReader reader(quantizer);
  const ColumnBlocks& of_stretch = g.of_stretch;
  for_each_column(g.all(), [&](int64_t item, int64_t j, int64_t column_channel, int64_t, int64_t) {
    const int64_t stretch = quotient_of(item, of_stretch.count);
    const int64_t begin = (item - stretch * of_stretch.count) * of_stretch.elements;
    const int64_t left = of_stretch.total - begin;
    const int64_t n = left < of_stretch.elements ? left : of_stretch.elements;
    const int64_t at = stretch * of_stretch.total + begin;
    const int64_t channel = g.channels > 1 ? remainder_of(stretch, g.channels) : column_channel;
    const CodeParameters p = reader.at_channel(channel);
    const float zero_code = numerics::to_float(p.zero_point);
    double sums[kSums] = {};
    sum_column<kSums>(of_stretch.width, j, n, sums, [&](int64_t i, float* group) {
      const float incoming = grad[at + i], element = x[at + i];
      const bool passes = p.passes(element);
      out[at + i] = passes ? incoming : 0.0f;
      const auto terms = numerics::learned_terms(incoming, numerics::mul(element, p.inverse_scale),
                                                 numerics::to_float(p.quantize(element)), zero_code,
                                                 passes, clipped_only);
      group[0] = numerics::add(group[0], terms.scale);
      group[1] = numerics::add(group[1], terms.zero_point);
    });
#pragma unroll
    for (int s = 0; s < kSums; ++s) columns[(item * kSums + s) * of_stretch.width + j] = sums[s];
  });
}

__global__ void __launch_bounds__(kThreads)
    finish(ChannelQuantizer quantizer, LearnedBlocks g, int64_t count, double grad_scale,
           const double* partials, float* d_scale, float* d_zero_point) {
  const int64_t inner = g.of_stretch.channels;
  for (int64_t c = first_item(); c < count; c += item_step()) {
    double sums[kSums] = {};
    for (int64_t stretch = g.channels > 1 ? c : 0; stretch < g.stretches; stretch += g.channels) {
      for (int64_t b = 0; b < g.of_stretch.count; ++b) {
        const int64_t item = stretch * g.of_stretch.count + b;
        const double* part = partials + item * kSums * inner + (inner > 1 ? c : 0);
        sums[0] += part[0];
        sums[1] += part[inner];
      }
    }
    d_scale[c] = static_cast<float>(sums[0] * grad_scale);
    const auto scale = static_cast<double>(at(quantizer.scale, c));
    d_zero_point[c] = static_cast<float>(sums[1] * -scale * grad_scale);
  }
}

}  // namespace

void learned_zero_codes(const float* zero_point, int64_t n, float quant_min, float quant_max,
                        int32_t* codes, cudaStream_t stream) {
  launch("fake_quantize_learned", to_codes, n, stream, zero_point, n, quant_min, quant_max, codes);
}

void fake_quantize_learned_backward(const ChannelQuantizer& quantizer, const LearnedBlocks& g,
                                    const float* grad, const float* x,
                                    const SumWorkspace& workspace,
                                    const LearnedGradients& gradients, cudaStream_t stream) {
  constexpr const char* kOp = "fake_quantize_learned_backward";
  const ColumnBlocks all = g.all();
  launch(kOp, backward, all.columns(), stream, quantizer, g, grad, x, gradients.clipped_only,
         gradients.x, workspace.columns);
  launch(kOp, fold_columns, all.count * kSums * all.channels, stream, all, kSums, workspace.columns,
         workspace.partials);
  launch(kOp, finish, gradients.count, stream, quantizer, g, gradients.count, gradients.grad_scale,
         workspace.partials, gradients.scale, gradients.zero_point);
}

}  // namespace qat::kernels::cuda
