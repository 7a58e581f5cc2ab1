// The end of a conv or linear chain: rules 7, 8 and 2 of docs/numerics.md in one pass.

#include "kernels/cpu/chain_stages.h"
#include "kernels/cpu/range_keys.h"

namespace qat::kernels::QAT_CPU_CAPABILITY {
namespace {

template <ActivationKind kind, bool buffered>
RangeKeys finite_range(const Chain& chain, const float* source, int64_t j, int64_t n) {
  RangeKeys seen;
  for (int64_t k = j; k < j + n; ++k) {
    const float value = value_at<buffered>(source - j, chain.multiplier, chain.bias, k);
    include(seen, numerics::activate<kind>(value, chain.p0[k], chain.p1));
  }
  return seen;
}

template <ActivationKind kind, bool buffered, bool observe>
QAT_INLINE void quantize_stretch(const Chain& chain, const float* __restrict source, int64_t j,
                                 int64_t n, uint8_t* __restrict codes, RangeKeys* keys) {
  const float* __restrict multiplier = chain.multiplier + j;
  const float* __restrict bias = chain.bias + j;
  const float* __restrict p0 = chain.p0 + j;
  const float* __restrict inverse_scale = chain.quantizer.inverse_scale + j;
  const int32_t* __restrict zero_point = chain.quantizer.zero_point + j;
  const float p1 = chain.p1;
  const float quant_min = chain.quantizer.quant_min, quant_max = chain.quantizer.quant_max;
  RangeKeys seen;
  for (int64_t k = 0; k < n; ++k) {
    const float value = value_at<buffered>(source, multiplier, bias, k);
    const float result = numerics::activate<kind>(value, p0[k], p1);
    if constexpr (observe) include_any(seen, result);
    codes[k] = static_cast<uint8_t>(numerics::quantize(
        result, inverse_scale[k], numerics::to_float(zero_point[k]), quant_min, quant_max));
  }
  if constexpr (observe) {
    if (!holds_only_finite(seen)) {
      seen = finite_range<kind, buffered>(chain, source, j, n);
    }
    merge(*keys, seen);
  }
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

template <bool buffered>
QAT_INLINE void add_statistics(const Chain& chain, const float* __restrict source,
                               const float* __restrict shift, int64_t j, int64_t n,
                               double* __restrict sum, double* __restrict sum_of_squares) {
  const float* __restrict multiplier = chain.multiplier + j;
  const float* __restrict bias = chain.bias + j;
  for (int64_t k = 0; k < n; ++k) {
    const auto value = static_cast<double>(value_at<buffered>(source, multiplier, bias, k));
    const double difference = value - static_cast<double>(shift[k]);
    sum[k] += difference;
    sum_of_squares[k] += difference * difference;
  }
}

}  // namespace

void chain_quantize(const Chain& chain, int64_t begin, int64_t end, uint8_t* codes,
                    RangeKeys* keys) {
  with_activation(chain.activation, [&]<ActivationKind kind>() {
    for_each_source(
        chain, begin, end,
        [&]<bool buffered>(int64_t i, int64_t j, int64_t n, const float* source) {
          if (keys == nullptr) {
            quantize_stretch<kind, buffered, false>(chain, source, j, n, codes + i, keys);
          } else {
            quantize_stretch<kind, buffered, true>(chain, source, j, n, codes + i, keys);
          }
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

void chain_statistics(const Chain& chain, const float* shift, int64_t begin, int64_t end,
                      double* sum, double* sum_of_squares) {
  for_each_source(
      chain, begin, end, [&]<bool buffered>(int64_t, int64_t j, int64_t n, const float* source) {
        add_statistics<buffered>(chain, source, shift + j, j, n, sum + j, sum_of_squares + j);
      });
}

}  // namespace qat::kernels::QAT_CPU_CAPABILITY
