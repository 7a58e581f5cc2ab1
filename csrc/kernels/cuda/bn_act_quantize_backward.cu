// Gradient of a chain's end. The forward value and its masks are recomputed from the accumulator,
// which is cheaper than storing them: the pass waits for memory.

#include "kernels/cuda/chain.cuh"
#include "kernels/cuda/reduce.cuh"
#include "numerics/learned.h"

namespace qat::kernels::cuda {
namespace {

using numerics::ActivationKind;

__device__ __forceinline__ float slope_at(const ChannelChain& chain, float value, int64_t c) {
  const float p0 = at(chain.p0, c), p1 = chain.p1;
  switch (chain.activation) {
    case ActivationKind::none:
      return numerics::activation_slope<ActivationKind::none>(value, p0, p1);
    case ActivationKind::relu:
      return numerics::activation_slope<ActivationKind::relu>(value, p0, p1);
    case ActivationKind::clamp:
      return numerics::activation_slope<ActivationKind::clamp>(value, p0, p1);
    case ActivationKind::leaky_relu:
      return numerics::activation_slope<ActivationKind::leaky_relu>(value, p0, p1);
    case ActivationKind::hardswish:
      return numerics::activation_slope<ActivationKind::hardswish>(value, p0, p1);
    case ActivationKind::hardsigmoid:
      return numerics::activation_slope<ActivationKind::hardsigmoid>(value, p0, p1);
  }
  return 1.0f;
}

// grad * straight-through mask.
__device__ __forceinline__ float passed(const ChannelChain& chain, const QuantizerReader& reader,
                                        float value, float grad, int64_t c) {
  if (!chain.quantized) return grad;
  return reader.at_channel(c).passes(activated(chain, value, c)) ? grad : 0.0f;
}

__device__ __forceinline__ float xhat_at(const BackwardChain& b, float acc, int64_t c) {
  return numerics::real_value(acc, at(b.xhat_multiplier, c), at(b.xhat_bias, c));
}

// The terms of the quantizer's parameters (rule 13).
__device__ __forceinline__ numerics::LearnedTerms<float> learned_at(const ChannelChain& chain,
                                                                    const QuantizerReader& reader,
                                                                    float value, float grad,
                                                                    int64_t c, bool clipped_only) {
  const CodeParameters p = reader.at_channel(c);
  const float result = activated(chain, value, c);
  return numerics::learned_terms(grad, numerics::mul(result, p.inverse_scale),
                                 numerics::to_float(p.quantize(result)),
                                 numerics::to_float(p.zero_point), p.passes(result), clipped_only);
}

template <bool slope, bool learned>
__global__ void __launch_bounds__(kThreads)
    sum(BackwardChain b, ColumnBlocks g, bool clipped_only, double* columns) {
  constexpr int kLearned = slope ? 3 : 2, kSums = kLearned + (learned ? 2 : 0);
  const QuantizerReader reader(b.chain.quantizer);
  sum_columns<kSums>(g, columns, [&](int64_t c) {
    return [&b, &reader, c, clipped_only](int64_t i, float* sums) {
      const auto s = load_stretch<1>(b.chain, i, c);
      const float value = s.value[0];
      const float through = passed(b.chain, reader, value, b.grad[i], c);
      const float dy = numerics::mul(through, slope_at(b.chain, value, c));
      sums[0] = numerics::add(sums[0], dy);
      sums[1] = numerics::add(sums[1], numerics::mul(dy, xhat_at(b, s.acc[0], c)));
      if constexpr (slope) {
        sums[2] = numerics::add(sums[2], value < 0.0f ? numerics::mul(through, value) : 0.0f);
      }
      if constexpr (learned) {
        const auto terms = learned_at(b.chain, reader, value, b.grad[i], c, clipped_only);
        sums[kLearned] = numerics::add(sums[kLearned], terms.scale);
        sums[kLearned + 1] = numerics::add(sums[kLearned + 1], terms.zero_point);
      }
    };
  });
}

__global__ void __launch_bounds__(kThreads)
    finish(ColumnBlocks g, int sums, double* partials, BackwardSums out) {
  const double rows = row_count(g);
  for (int64_t c = first_item(); c < g.channels; c += item_step()) {
    const double dy = add_blocks(g, sums, 0, c, partials);
    const double dy_xhat = add_blocks(g, sums, 1, c, partials);
    out.dy[c] = static_cast<float>(dy);
    out.dy_xhat[c] = static_cast<float>(dy_xhat);
    out.mean_dy[c] = static_cast<float>(dy / rows);
    out.mean_dy_xhat[c] = static_cast<float>(dy_xhat / rows);
    if (out.dy_slope != nullptr) {
      out.dy_slope[c] = static_cast<float>(add_blocks(g, sums, 2, c, partials));
    }
    if (out.scale == nullptr || g.count == 0) continue;
    for (int s = sums - 2; s < sums; ++s) {
      // In place of the first block's, which no other thread reads.
      partials[s * g.channels + c] = add_blocks(g, sums, s, c, partials);
    }
  }
}

// From the sums of the channels, which finish() left with the first block.
__global__ void __launch_bounds__(kThreads)
    finish_learned(ChannelQuantizer quantizer, ColumnBlocks g, int sums, const double* partials,
                   BackwardSums out) {
  const bool uniform = quantizer.scale.uniform;
  const double* of_scale = partials + (sums - 2) * g.channels;
  const double* of_zero_point = of_scale + g.channels;
  const int64_t per_scale = g.count == 0 ? 0 : uniform ? g.channels : 1;
  const int64_t scales = uniform ? 1 : g.channels;
  for (int64_t c = first_item(); c < scales; c += item_step()) {
    double scale = 0.0, zero_point = 0.0;
    for (int64_t k = 0; k < per_scale; ++k) {
      scale += of_scale[c * per_scale + k];
      zero_point += of_zero_point[c * per_scale + k];
    }
    out.scale[c] = static_cast<float>(scale);
    out.zero_point[c] =
        static_cast<float>(zero_point * -static_cast<double>(at(quantizer.scale, c)));
  }
}

template <bool residual_grad>
__global__ void __launch_bounds__(kThreads)
    apply(BackwardChain b, float* d_value, float* d_residual, bool aligned) {
  const QuantizerReader reader(b.chain.quantizer);
  for_each_pack<kFloats>(b.chain.count, aligned, [&]<int n>(int64_t i) {
    const auto s = load_stretch<n>(b.chain, i);
    const auto grad = load<n>(b.grad + i);
    Pack<float, n> value, dy;
#pragma unroll
    for (int k = 0; k < n; ++k) {
      const int64_t c = s.channel[k];
      const float through = passed(b.chain, reader, s.value[k], grad.v[k], c);
      dy.v[k] = numerics::mul(through, slope_at(b.chain, s.value[k], c));
      const float centred = numerics::add(dy.v[k], -at(b.mean_dy, c));
      const float projection = numerics::mul(xhat_at(b, s.acc[k], c), at(b.mean_dy_xhat, c));
      value.v[k] = numerics::mul(at(b.gain, c), numerics::add(centred, -projection));
    }
    store(d_value + i, value);
    if constexpr (residual_grad) store(d_residual + i, dy);
  });
}

}  // namespace

void chain_backward_sums(const BackwardChain& b, const ColumnBlocks& g,
                         const SumWorkspace& workspace, const BackwardSums& out,
                         cudaStream_t stream) {
  constexpr const char* kOp = "bn_act_quantize_backward";
  const int sums = out.count();
  const bool slope = out.dy_slope != nullptr, learned = out.scale != nullptr;
  const auto kernel = slope ? (learned ? sum<true, true> : sum<true, false>)
                            : (learned ? sum<false, true> : sum<false, false>);
  launch(kOp, kernel, g.columns(), stream, b, g, out.clipped_only, workspace.columns);
  launch(kOp, fold_columns, g.count * sums * g.channels, stream, g, sums, workspace.columns,
         workspace.partials);
  launch(kOp, finish, g.channels, stream, g, sums, workspace.partials, out);
  if (!learned) return;
  launch(kOp, finish_learned, b.chain.quantizer.scale.uniform ? 1 : g.channels, stream,
         b.chain.quantizer, g, sums, workspace.partials, out);
}

void chain_backward_apply(const BackwardChain& b, float* d_value, float* d_residual,
                          cudaStream_t stream) {
  const auto kernel = d_residual == nullptr ? apply<false> : apply<true>;
  const bool aligned = inputs_aligned(b.chain) && aligned_128(b.grad, d_value, d_residual);
  launch("bn_act_quantize_backward", kernel, divide_up(b.chain.count, kFloats), stream, b, d_value,
         d_residual, aligned);
}

}  // namespace qat::kernels::cuda
