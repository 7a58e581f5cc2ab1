// The end of a conv or linear chain: rules 7, 8 and 2 of docs/numerics.md in one pass.

#include "kernels/cpu/chain_columns.h"
#include "kernels/cpu/vector_codes.h"
#include "kernels/cpu/vector_half.h"
#include "kernels/cpu/vector_range.h"

namespace qat::kernels::QAT_CPU_CAPABILITY {
namespace {

// Slow; for the ranges of elements that hold an infinity or NaN.
template <ActivationKind kind>
RangeKeys finite_range(const Chain& chain, int64_t begin, int64_t end) {
  RangeKeys seen;
  for_each_source(
      chain, begin, end, [&]<bool buffered>(int64_t, int64_t j, int64_t n, const float* source) {
        for (int64_t k = 0; k < n; ++k) {
          const float value = value_at<buffered>(source, chain.multiplier + j, chain.bias + j, k);
          include(seen, numerics::activate<kind>(value, chain.p0[j + k], chain.p1));
        }
      });
  return seen;
}

template <ActivationKind kind, ResidualForm residual, bool observe>
void quantize_rows(const Chain& all, int64_t begin, int64_t end, uint8_t* codes,
                   VectorRange* range) {
  const Chain chain = all;  // whose address the stores of codes cannot know
  const CodeEnds ends(chain.quantizer);
  const auto p1 = numerics::splat<FloatVector>(chain.p1);
  VectorRange seen;
  for (int64_t row = begin; row < end; row += chain.width) {
    const int64_t n = end - row < chain.width ? end - row : chain.width;
    for_each_register(0, n, [&](auto lanes, int64_t j) {
      const ColumnValues<residual, decltype(lanes)> values(chain, j, lanes);
      const CodeVectors parameters(chain.quantizer, ends, j, lanes);
      const auto p0 = load<FloatVector>(chain.p0 + j, lanes);
      const int64_t i = row + j;
      const FloatVector value = values.at(load<FloatVector>(chain.acc + i, lanes), i);
      const FloatVector result = numerics::activate<kind>(value, p0, p1);
      if constexpr (observe) seen.include(result, lanes);
      store_codes(codes + i, parameters.quantize(result), lanes);
    });
  }
  if constexpr (observe) *range = seen;
}

template <ActivationKind kind, bool buffered>
QAT_INLINE void float_stretch(const Chain& chain, const float* __restrict source, int64_t j,
                              int64_t n, float* __restrict out) {
  const float* __restrict multiplier = chain.multiplier + j;
  const float* __restrict bias = chain.bias + j;
  const float* __restrict p0 = chain.p0 + j;
  const float p1 = chain.p1;
  for (int64_t k = 0; k < n; ++k) {
    const float value = value_at<buffered>(source, multiplier, bias, k);
    out[k] = numerics::activate<kind>(value, p0[k], p1);
  }
}

}  // namespace

void chain_quantize(const Chain& chain, int64_t begin, int64_t end, uint8_t* codes,
                    RangeKeys* keys) {
  with_activation(chain.activation, [&]<ActivationKind kind>() {
    with_residual(chain.residual_type, [&]<ResidualForm residual>() {
      if (keys == nullptr) {
        return quantize_rows<kind, residual, false>(chain, begin, end, codes, nullptr);
      }
      VectorRange range;
      quantize_rows<kind, residual, true>(chain, begin, end, codes, &range);
      const RangeKeys seen = range.keys();
      merge(*keys, holds_only_finite(seen) ? seen : finite_range<kind>(chain, begin, end));
    });
  });
}

void chain_float(const Chain& chain, int64_t begin, int64_t end, float* out) {
  with_activation(chain.activation, [&]<ActivationKind kind>() {
    for_each_source(chain, begin, end,
                    [&]<bool buffered>(int64_t i, int64_t j, int64_t n, const float* source) {
                      float_stretch<kind, buffered>(chain, source, j, n, out + i);
                    });
  });
}

bool chain_half(const Chain& all, int64_t begin, int64_t end, uint16_t* out) {
  const Chain chain = all;  // whose address the stores of results cannot know
  IntVector outside{};
  for (int64_t row = begin; row < end; row += chain.width) {
    const int64_t n = end - row < chain.width ? end - row : chain.width;
    for_each_register(0, n, [&](auto lanes, int64_t j) {
      const ColumnValues<ResidualForm::none, decltype(lanes)> values(chain, j, lanes);
      const int64_t i = row + j;
      const FloatVector value = values.at(load<FloatVector>(chain.acc + i, lanes), i);
      outside |= ~((value >= -kLargestHalf) & (value <= kLargestHalf));
      store_half(out + i, value, lanes);
    });
  }
  bool fits = true;
  for (int64_t k = 0; k < kLanes; ++k) fits &= outside[k] == 0;
  return fits;
}

// The residual has no part in batch norm's input. With u = 2^-24 and d = v - shift, each d errs by
// u and each d * d by 3 u of itself, and 16 float additions err by 15 u of the magnitudes: the mean
// errs by 16 u of the mean of |d|, and the variance, mean(d * d) - mean(d)^2, by 50 u of the mean
// of d * d, which is the variance plus the squared distance of the shift from the mean.
void chain_statistics(const Chain& all, const float* shift, int64_t begin, int64_t end, double* sum,
                      double* sum_of_squares) {
  const Chain chain = all;  // whose address the stores of sums cannot know
  add_rows(begin, end, chain.width, sum, sum_of_squares, [=](auto lanes, int64_t i, int64_t j) {
    const ColumnValues<ResidualForm::none, decltype(lanes)> values(chain, j, lanes);
    const FloatVector value = values.at(load<FloatVector>(chain.acc + i, lanes), i);
    const FloatVector difference = numerics::add(value, -load<FloatVector>(shift + j, lanes));
    return TwoTerms{difference, numerics::mul(difference, difference)};
  });
}

}  // namespace qat::kernels::QAT_CPU_CAPABILITY
