// Rule 13 of docs/numerics.md: one pass over the gradient and the input of a learned quantizer.

#include "numerics/learned.h"

#include "kernels/cpu/capability.h"
#include "kernels/cpu/chain_columns.h"
#include "kernels/cpu/vector_codes.h"

namespace qat::kernels::QAT_CPU_CAPABILITY {
namespace {

// Float sums over the rows of one column, at most kRowsOfColumn, then double, as in a chain's
// gradient: 16 additions err by less than what the product of rule 2 has already lost.
template <bool streams>
void backward(const Quantizer& q, const float* grad, const float* x, float* __restrict out,
              int64_t n, const LearnedSums& sums) {
  for_each_column(0, n, q.width, [&](auto lanes, int64_t i, int64_t j, int64_t rows) {
    const CodeVectors parameters(q, j, lanes);
    FloatVector scale{}, zero_point{};
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t at = i + r * q.width;
      prefetch(grad + at);
      prefetch(x + at);
      const auto incoming = load<FloatVector>(grad + at, lanes);
      const auto element = load<FloatVector>(x + at, lanes);
      const IntVector passes = parameters.passes(element);
      const auto terms = numerics::learned_terms(
          incoming, numerics::mul(element, parameters.inverse_scale),
          to_floats(parameters.quantize(element)), parameters.zero_code, passes);
      scale = numerics::add(scale, terms.scale);
      zero_point = numerics::add(zero_point, terms.zero_point);
      store_result<streams>(out + at, passes ? incoming : FloatVector{}, lanes);
    }
    add_to(sums.scale + j, scale, lanes);
    add_to(sums.zero_point + j, zero_point, lanes);
  });
}

}  // namespace

void fake_quantize_learned_backward(const Quantizer& q, const float* grad, const float* x,
                                    float* out, int64_t n, const LearnedSums& sums) {
  if (!q.streams) return backward<false>(q, grad, x, out, n, sums);
  backward<true>(q, grad, x, out, n, sums);
  end_streaming();
}

}  // namespace qat::kernels::QAT_CPU_CAPABILITY
