// Gradient of a chain's end. The forward value and its masks are recomputed from the accumulator,
// which is cheaper than storing them: the pass waits for memory.

#include "kernels/cpu/chain_stages.h"
#include "kernels/cpu/range_keys.h"

namespace qat::kernels::QAT_CPU_CAPABILITY {
namespace {

// The tile's parameters that turn a value and its gradient into dy.
struct Masks {
  const float* p0;
  float p1;
  const float* inverse_scale;
  const int32_t* zero_point;
  float quant_min, quant_max;
};

QAT_INLINE Masks masks_at(const Chain& chain, int64_t j) {
  const Quantizer& q = chain.quantizer;
  return {chain.p0 + j,
          chain.p1,
          chain.quantized ? q.inverse_scale + j : nullptr,
          chain.quantized ? q.zero_point + j : nullptr,
          q.quant_min,
          q.quant_max};
}

// grad * straight-through mask.
template <ActivationKind kind, bool quantized>
QAT_INLINE float passed_at(const Masks& m, float value, float grad, int64_t k) {
  if constexpr (!quantized) return grad;
  const float result = numerics::activate<kind>(value, m.p0[k], m.p1);
  const float r =
      numerics::unclamped_code(result, m.inverse_scale[k], numerics::to_float(m.zero_point[k]));
  // A select of bits: GCC turns a conditional into a masked load, which waits for the mask.
  const bool passes = numerics::straight_through(r, m.quant_min, m.quant_max);
  return from_bits(select(passes, float_bits(grad), 0));
}

template <ActivationKind kind, bool quantized>
QAT_INLINE float dy_at(const Masks& m, float value, float grad, int64_t k) {
  const float slope = numerics::activation_slope<kind>(value, m.p0[k], m.p1);
  return numerics::mul(passed_at<kind, quantized>(m, value, grad, k), slope);
}

template <ActivationKind kind, bool buffered, bool quantized>
QAT_INLINE void add_sums(const ChainBackward& b, const float* __restrict source, int64_t i,
                         int64_t j, int64_t n, double* __restrict dy_sum,
                         double* __restrict dy_xhat_sum) {
  const float* __restrict multiplier = b.chain.multiplier + j;
  const float* __restrict bias = b.chain.bias + j;
  const float* __restrict acc = b.chain.acc + i;
  const float* __restrict grad = b.grad + i;
  const float* __restrict xhat_multiplier = b.xhat_multiplier + j;
  const float* __restrict xhat_bias = b.xhat_bias + j;
  const Masks masks = masks_at(b.chain, j);
  for (int64_t k = 0; k < n; ++k) {
    const float value = value_at<buffered>(source, multiplier, bias, k);
    const float dy = dy_at<kind, quantized>(masks, value, grad[k], k);
    const float xhat = numerics::real_value(acc[k], xhat_multiplier[k], xhat_bias[k]);
    dy_sum[k] += static_cast<double>(dy);
    dy_xhat_sum[k] += static_cast<double>(numerics::mul(dy, xhat));
  }
}

template <bool buffered, bool quantized>
QAT_INLINE void add_slope_sums(const ChainBackward& b, const float* __restrict source, int64_t i,
                               int64_t j, int64_t n, double* __restrict sum) {
  constexpr auto kKind = ActivationKind::leaky_relu;
  const float* __restrict multiplier = b.chain.multiplier + j;
  const float* __restrict bias = b.chain.bias + j;
  const float* __restrict grad = b.grad + i;
  const Masks masks = masks_at(b.chain, j);
  for (int64_t k = 0; k < n; ++k) {
    const float value = value_at<buffered>(source, multiplier, bias, k);
    const float passed = passed_at<kKind, quantized>(masks, value, grad[k], k);
    sum[k] += value < 0.0f ? static_cast<double>(numerics::mul(passed, value)) : 0.0;
  }
}

template <ActivationKind kind, bool buffered, bool quantized, bool residual_grad>
QAT_INLINE void apply_stretch(const ChainBackward& b, const float* __restrict source, int64_t i,
                              int64_t j, int64_t n, float* __restrict d_value,
                              float* __restrict d_residual) {
  const float* __restrict multiplier = b.chain.multiplier + j;
  const float* __restrict bias = b.chain.bias + j;
  const float* __restrict acc = b.chain.acc + i;
  const float* __restrict grad = b.grad + i;
  const float* __restrict xhat_multiplier = b.xhat_multiplier + j;
  const float* __restrict xhat_bias = b.xhat_bias + j;
  const float* __restrict gain = b.gain + j;
  const float* __restrict mean_dy = b.mean_dy + j;
  const float* __restrict mean_dy_xhat = b.mean_dy_xhat + j;
  const Masks masks = masks_at(b.chain, j);
  for (int64_t k = 0; k < n; ++k) {
    const float value = value_at<buffered>(source, multiplier, bias, k);
    const float dy = dy_at<kind, quantized>(masks, value, grad[k], k);
    const float xhat = numerics::real_value(acc[k], xhat_multiplier[k], xhat_bias[k]);
    const float centred = numerics::add(dy, -mean_dy[k]);
    const float direction = numerics::add(centred, -numerics::mul(xhat, mean_dy_xhat[k]));
    d_value[k] = numerics::mul(gain[k], direction);
    if constexpr (residual_grad) d_residual[k] = dy;
  }
}

// Calls run.operator()<quantized>().
template <typename Run>
QAT_INLINE void with_quantized(bool quantized, Run run) {
  if (quantized) {
    run.template operator()<true>();
  } else {
    run.template operator()<false>();
  }
}

}  // namespace

void chain_backward_sums(const ChainBackward& b, int64_t begin, int64_t end,
                         const ChainSums& sums) {
  with_activation(b.chain.activation, [&]<ActivationKind kind>() {
    with_quantized(b.chain.quantized, [&]<bool quantized>() {
      for_each_source(b.chain, begin, end,
                      [&]<bool buffered>(int64_t i, int64_t j, int64_t n, const float* source) {
                        add_sums<kind, buffered, quantized>(b, source, i, j, n, sums.dy + j,
                                                            sums.dy_xhat + j);
                      });
    });
  });
  if (sums.dy_slope == nullptr) return;
  with_quantized(b.chain.quantized, [&]<bool quantized>() {
    for_each_source(b.chain, begin, end,
                    [&]<bool buffered>(int64_t i, int64_t j, int64_t n, const float* source) {
                      add_slope_sums<buffered, quantized>(b, source, i, j, n, sums.dy_slope + j);
                    });
  });
}

void chain_backward_apply(const ChainBackward& b, int64_t begin, int64_t end, float* d_value,
                          float* d_residual) {
  with_activation(b.chain.activation, [&]<ActivationKind kind>() {
    with_quantized(b.chain.quantized, [&]<bool quantized>() {
      for_each_source(b.chain, begin, end,
                      [&]<bool buffered>(int64_t i, int64_t j, int64_t n, const float* source) {
                        if (d_residual != nullptr) {
                          apply_stretch<kind, buffered, quantized, true>(
                              b, source, i, j, n, d_value + i, d_residual + i);
                        } else {
                          apply_stretch<kind, buffered, quantized, false>(b, source, i, j, n,
                                                                          d_value + i, nullptr);
                        }
                      });
    });
  });
}

}  // namespace qat::kernels::QAT_CPU_CAPABILITY
