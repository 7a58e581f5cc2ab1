// Rule 13 of docs/numerics.md: one pass over the gradient and the input of a learned quantizer.

#include "numerics/learned.h"

#include "kernels/cpu/capability.h"
#include "kernels/cpu/row_sums.h"
#include "kernels/cpu/vector_codes.h"

namespace qat::kernels::QAT_CPU_CAPABILITY {
namespace {

template <bool streams>
void backward(const Quantizer& quantizer, const float* grad, const float* x, float* __restrict out,
              int64_t n, const LearnedSums& sums) {
  const Quantizer q = quantizer;  // whose address the stores below cannot know
  const CodeEnds ends(q);
  const bool clipped_only = sums.clipped_only;
  add_rows(
      0, n, q.width, sums.scale, sums.zero_point, [=, &ends](auto lanes, int64_t i, int64_t j) {
        const CodeVectors parameters(q, ends, j, lanes);
        const auto incoming = load<FloatVector>(grad + i, lanes);
        const auto element = load<FloatVector>(x + i, lanes);
        const IntVector passes = parameters.passes(element);
        store_result<streams>(out + i, passes ? incoming : FloatVector{}, lanes);
        const auto terms = numerics::learned_terms(
            incoming, numerics::mul(element, parameters.inverse_scale),
            to_floats(parameters.quantize(element)), parameters.zero_code, passes, clipped_only);
        return TwoTerms{terms.scale, terms.zero_point};
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
