// Gradient of a chain's end. The forward value and its masks are recomputed from the accumulator,
// which is cheaper than storing them: the pass waits for memory.

#include "kernels/cuda/chain.cuh"
#include "kernels/cuda/reduce.cuh"

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

template <int kSums>
__global__ void __launch_bounds__(kThreads) sum(BackwardChain b, ColumnBlocks g, double* columns) {
  const QuantizerReader reader(b.chain.quantizer);
  sum_columns<kSums>(g, columns, [&](int64_t c) {
    return [&b, &reader, c](int64_t i, float* sums) {
      const auto s = load_stretch<1>(b.chain, i, c);
      const float value = s.value[0];
      const float through = passed(b.chain, reader, value, b.grad[i], c);
      const float dy = numerics::mul(through, slope_at(b.chain, value, c));
      sums[0] = numerics::add(sums[0], dy);
      sums[1] = numerics::add(sums[1], numerics::mul(dy, xhat_at(b, s.acc[0], c)));
      if constexpr (kSums == 3) {
        sums[2] = numerics::add(sums[2], value < 0.0f ? numerics::mul(through, value) : 0.0f);
      }
    };
  });
}

__global__ void __launch_bounds__(kThreads)
    finish(ColumnBlocks g, int64_t sums, const double* partials, BackwardSums out) {
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
  const int64_t sums = out.dy_slope == nullptr ? 2 : 3;
  const auto kernel = sums == 2 ? sum<2> : sum<3>;
  launch(kOp, kernel, g.columns(), stream, b, g, workspace.columns);
  launch(kOp, fold_columns, g.count * sums * g.channels, stream, g, sums, workspace.columns,
         workspace.partials);
  launch(kOp, finish, g.channels, stream, g, sums, workspace.partials, out);
}

void chain_backward_apply(const BackwardChain& b, float* d_value, float* d_residual,
                          cudaStream_t stream) {
  const auto kernel = d_residual == nullptr ? apply<false> : apply<true>;
  const bool aligned = inputs_aligned(b.chain) && aligned_128(b.grad, d_value, d_residual);
  launch("bn_act_quantize_backward", kernel, divide_up(b.chain.count, kFloats), stream, b, d_value,
         d_residual, aligned);
}

}  // namespace qat::kernels::cuda
