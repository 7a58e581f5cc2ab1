// Gradient of a chain's end. The forward value and its masks are recomputed from the accumulator,
// which is cheaper than storing them: the pass waits for memory.

#include "kernels/cpu/chain_columns.h"

namespace qat::kernels::QAT_CPU_CAPABILITY {
namespace {

// What turns an accumulator and its gradient into dy and x_hat, for one column.
template <ActivationKind kind, ResidualForm residual, bool quantized, typename Lanes>
struct Column {
  Column(const ChainBackward& b, int64_t j, Lanes count)
      : lanes(count),
        acc(b.chain.acc),
        grad(b.grad),
        values(b.chain, j, count),
        p0(load<FloatVector>(b.chain.p0 + j, lanes)),
        p1(numerics::splat<FloatVector>(b.chain.p1)),
        xhat_multiplier(load<FloatVector>(b.xhat_multiplier + j, lanes)),
        xhat_bias(load<FloatVector>(b.xhat_bias + j, lanes)) {
    if constexpr (quantized) {
      pass_lo = load<FloatVector>(b.pass_lo + j, lanes);
      pass_hi = load<FloatVector>(b.pass_hi + j, lanes);
    }
  }

  struct Gradient {
    FloatVector value, passed, dy, xhat;
  };

  __attribute__((always_inline)) Gradient at(int64_t i) const {
    prefetch(acc + i);
    prefetch(grad + i);
    const auto a = load<FloatVector>(acc + i, lanes);
    Gradient g;
    g.value = values.at(a, i);
    g.passed = load<FloatVector>(grad + i, lanes);
    if constexpr (quantized) {
      const FloatVector result = numerics::activate<kind>(g.value, p0, p1);
      g.passed = (result >= pass_lo) & (result <= pass_hi) ? g.passed : FloatVector{};
    }
    g.dy = numerics::mul(g.passed, numerics::activation_slope<kind>(g.value, p0, p1));
    g.xhat = numerics::real_value(a, xhat_multiplier, xhat_bias);
    return g;
  }

  Lanes lanes;
  const float* acc;
  const float* grad;
  ColumnValues<residual, Lanes> values;
  FloatVector p0, p1, xhat_multiplier, xhat_bias, pass_lo{}, pass_hi{};
};

// Float sums over the rows of one column, at most kRowsOfColumn, then double: the error of 16
// float additions is far below that of a float32 gradient, and a double for each element would
// double the time of the pass.
template <ActivationKind kind, ResidualForm residual, bool quantized>
void sums_of(const ChainBackward& b, int64_t begin, int64_t end, const ChainSums& sums) {
  const int64_t width = b.chain.width;
  for_each_column(begin, end, width, [&](auto lanes, int64_t i, int64_t j, int64_t rows) {
    const Column<kind, residual, quantized, decltype(lanes)> column(b, j, lanes);
    FloatVector dy{}, dy_xhat{}, slope{};
    for (int64_t r = 0; r < rows; ++r) {
      const auto g = column.at(i + r * width);
      dy = numerics::add(dy, g.dy);
      dy_xhat = numerics::add(dy_xhat, numerics::mul(g.dy, g.xhat));
      if constexpr (kind == ActivationKind::leaky_relu) {
        const FloatVector term = numerics::mul(g.passed, g.value);
        slope = numerics::add(slope, g.value < 0.0f ? term : FloatVector{});
      }
    }
    add_to(sums.dy + j, dy, lanes);
    add_to(sums.dy_xhat + j, dy_xhat, lanes);
    if (sums.dy_slope != nullptr) add_to(sums.dy_slope + j, slope, lanes);
  });
}

template <ActivationKind kind, ResidualForm residual, bool quantized, bool streams>
void apply(const ChainBackward& b, int64_t begin, int64_t end, float* __restrict d_value,
           float* __restrict d_residual) {
  const int64_t width = b.chain.width;
  for_each_column(begin, end, width, [&](auto lanes, int64_t i, int64_t j, int64_t rows) {
    const Column<kind, residual, quantized, decltype(lanes)> column(b, j, lanes);
    const auto gain = load<FloatVector>(b.gain + j, lanes);
    const auto mean_dy = load<FloatVector>(b.mean_dy + j, lanes);
    const auto mean_dy_xhat = load<FloatVector>(b.mean_dy_xhat + j, lanes);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t at = i + r * width;
      const auto g = column.at(at);
      const FloatVector centred = numerics::add(g.dy, -mean_dy);
      const FloatVector direction = numerics::add(centred, -numerics::mul(g.xhat, mean_dy_xhat));
      store_result<streams>(d_value + at, numerics::mul(gain, direction), lanes);
      if (d_residual != nullptr) store_result<streams>(d_residual + at, g.dy, lanes);
    }
  });
}

// Calls run.operator()<kind, residual, quantized>().
template <typename Run>
QAT_INLINE void with_chain(const Chain& chain, Run run) {
  with_activation(chain.activation, [&]<ActivationKind kind>() {
    with_residual(chain.residual_type, [&]<ResidualForm residual>() {
      if (chain.quantized) {
        run.template operator()<kind, residual, true>();
      } else {
        run.template operator()<kind, residual, false>();
      }
    });
  });
}

}  // namespace

void chain_backward_sums(const ChainBackward& b, int64_t begin, int64_t end,
                         const ChainSums& sums) {
  with_chain(b.chain, [&]<ActivationKind kind, ResidualForm residual, bool quantized>() {
    sums_of<kind, residual, quantized>(b, begin, end, sums);
  });
}

void chain_backward_apply(const ChainBackward& b, int64_t begin, int64_t end, float* d_value,
                          float* d_residual) {
  with_chain(b.chain, [&]<ActivationKind kind, ResidualForm residual, bool quantized>() {
    if (b.streams) {
      apply<kind, residual, quantized, true>(b, begin, end, d_value, d_residual);
    } else {
      apply<kind, residual, quantized, false>(b, begin, end, d_value, d_residual);
    }
  });
  if (b.streams) end_streaming();
}

}  // namespace qat::kernels::QAT_CPU_CAPABILITY
