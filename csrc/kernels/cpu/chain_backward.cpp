// Gradient of a chain's end. The forward value and its masks are recomputed from the accumulator,
// which is cheaper than storing them: the pass waits for memory.

#include "kernels/cpu/chain_columns.h"
#include "kernels/cpu/vector_codes.h"
#include "kernels/cpu/vector_half.h"
#include "numerics/learned.h"

namespace qat::kernels::QAT_CPU_CAPABILITY {
namespace {

// What backward takes from the quantizer: its mask, and the terms of its parameters (rule 13).
enum class Quantization { none, mask, learned };

// Stands where no codes are wanted.
struct NoCodes {
  template <typename... Any>
  explicit NoCodes(const Any&...) {}
};

template <typename Codes, Quantization quantization>
using IfLearned = std::conditional_t<quantization == Quantization::learned, Codes, NoCodes>;

// What turns an accumulator and its gradient into dy and x_hat, for one column.
template <ActivationKind kind, ResidualForm residual, Quantization quantization, typename Lanes>
struct Column {
  using Ends = IfLearned<CodeEnds, quantization>;

  Column(const ChainBackward& b, const Ends& ends, bool clipped, int64_t j, Lanes count)
      : lanes(count),
        acc(b.chain.acc),
        half_acc(b.half_acc),
        grad(b.grad),
        values(b.chain, j, count),
        p0(load<FloatVector>(b.chain.p0 + j, lanes)),
        p1(numerics::splat<FloatVector>(b.chain.p1)),
        xhat_multiplier(load<FloatVector>(b.xhat_multiplier + j, lanes)),
        xhat_bias(load<FloatVector>(b.xhat_bias + j, lanes)),
        codes(b.chain.quantizer, ends, j, lanes),
        clipped_only(clipped) {
    if constexpr (quantization != Quantization::none) {
      pass_lo = load<FloatVector>(b.pass_lo + j, lanes);
      pass_hi = load<FloatVector>(b.pass_hi + j, lanes);
    }
  }

  struct Gradient {
    FloatVector value, passed, dy, xhat;
    numerics::LearnedTerms<FloatVector> learned;
  };

  __attribute__((always_inline)) Gradient at(int64_t i) const {
    const FloatVector a = accumulators(i);
    prefetch(grad + i);
    Gradient g{};
    g.value = values.at(a, i);
    g.passed = load<FloatVector>(grad + i, lanes);
    if constexpr (quantization != Quantization::none) {
      const FloatVector result = numerics::activate<kind>(g.value, p0, p1);
      const IntVector passes = (result >= pass_lo) & (result <= pass_hi);
      if constexpr (quantization == Quantization::learned) {
        g.learned = numerics::learned_terms(g.passed, numerics::mul(result, codes.inverse_scale),
                                            to_floats(codes.quantize(result)), codes.zero_code,
                                            passes, clipped_only);
      }
      g.passed = passes ? g.passed : FloatVector{};
    }
    g.dy = numerics::mul(g.passed, numerics::activation_slope<kind>(g.value, p0, p1));
    g.xhat = numerics::real_value(a, xhat_multiplier, xhat_bias);
    return g;
  }

  // A branch that always goes the same way: two copies of each loop would gain nothing.
  __attribute__((always_inline)) FloatVector accumulators(int64_t i) const {
    if (half_acc != nullptr) {
      prefetch(half_acc + i);
      return load_half(half_acc + i, lanes);
    }
    prefetch(acc + i);
    return load<FloatVector>(acc + i, lanes);
  }

  Lanes lanes;
  const float* acc;
  const uint16_t* half_acc;
  const float* grad;
  ColumnValues<residual, Lanes> values;
  FloatVector p0, p1, xhat_multiplier, xhat_bias, pass_lo{}, pass_hi{};
  IfLearned<CodeVectors, quantization> codes;
  bool clipped_only;
};

// Float sums over the rows of one column, at most kRowsOfColumn, then double: the error of 16
// float additions is far below that of a float32 gradient, and a double for each element would
// double the time of the pass.
template <ActivationKind kind, ResidualForm residual, Quantization quantization>
void sums_of(const ChainBackward& b, int64_t begin, int64_t end, const ChainSums& sums) {
  const int64_t width = b.chain.width;
  const IfLearned<CodeEnds, quantization> ends(b.chain.quantizer);
  const bool clipped_only = sums.learned.clipped_only;
  for_each_column(begin, end, width, [&](auto lanes, int64_t i, int64_t j, int64_t rows) {
    const Column<kind, residual, quantization, decltype(lanes)> column(b, ends, clipped_only, j,
                                                                       lanes);
    FloatVector dy{}, dy_xhat{}, slope{}, scale{}, zero_point{};
    for (int64_t r = 0; r < rows; ++r) {
      const auto g = column.at(i + r * width);
      dy = numerics::add(dy, g.dy);
      dy_xhat = numerics::add(dy_xhat, numerics::mul(g.dy, g.xhat));
      if constexpr (kind == ActivationKind::leaky_relu) {
        const FloatVector term = numerics::mul(g.passed, g.value);
        slope = numerics::add(slope, g.value < 0.0f ? term : FloatVector{});
      }
      if constexpr (quantization == Quantization::learned) {
        scale = numerics::add(scale, g.learned.scale);
        zero_point = numerics::add(zero_point, g.learned.zero_point);
      }
    }
    add_to(sums.dy + j, dy, lanes);
    add_to(sums.dy_xhat + j, dy_xhat, lanes);
    if (sums.dy_slope != nullptr) add_to(sums.dy_slope + j, slope, lanes);
    if constexpr (quantization == Quantization::learned) {
      add_to(sums.learned.scale + j, scale, lanes);
      add_to(sums.learned.zero_point + j, zero_point, lanes);
    }
  });
}

template <ActivationKind kind, ResidualForm residual, Quantization quantization, bool streams>
void apply(const ChainBackward& b, int64_t begin, int64_t end, float* __restrict d_value,
           float* __restrict d_residual) {
  const int64_t width = b.chain.width;
  for_each_column(begin, end, width, [&](auto lanes, int64_t i, int64_t j, int64_t rows) {
    const Column<kind, residual, quantization, decltype(lanes)> column(b, NoCodes(), false, j,
                                                                       lanes);
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

// Calls run.operator()<kind, residual>().
template <typename Run>
QAT_INLINE void with_chain(const Chain& chain, Run run) {
  with_activation(chain.activation, [&]<ActivationKind kind>() {
    with_residual(chain.residual_type,
                  [&]<ResidualForm residual>() { run.template operator()<kind, residual>(); });
  });
}

}  // namespace

void chain_backward_sums(const ChainBackward& b, int64_t begin, int64_t end,
                         const ChainSums& sums) {
  with_chain(b.chain, [&]<ActivationKind kind, ResidualForm residual>() {
    if (sums.learned.scale != nullptr) {
      sums_of<kind, residual, Quantization::learned>(b, begin, end, sums);
    } else if (b.chain.quantized) {
      sums_of<kind, residual, Quantization::mask>(b, begin, end, sums);
    } else {
      sums_of<kind, residual, Quantization::none>(b, begin, end, sums);
    }
  });
}

void chain_backward_apply(const ChainBackward& b, int64_t begin, int64_t end, float* d_value,
                          float* d_residual) {
  with_chain(b.chain, [&]<ActivationKind kind, ResidualForm residual>() {
    const auto with = [&]<Quantization quantization>() {
      if (b.streams) {
        apply<kind, residual, quantization, true>(b, begin, end, d_value, d_residual);
      } else {
        apply<kind, residual, quantization, false>(b, begin, end, d_value, d_residual);
      }
    };
    if (b.chain.quantized) {
      with.template operator()<Quantization::mask>();
    } else {
      with.template operator()<Quantization::none>();
    }
  });
  if (b.streams) end_streaming();
}

}  // namespace qat::kernels::QAT_CPU_CAPABILITY
