// Rules 2 to 4 of docs/numerics.md over arrays.

#include "kernels/cpu/capability.h"
#include "kernels/cpu/vector_codes.h"

namespace qat::kernels::QAT_CPU_CAPABILITY {
namespace {

// Calls run(parameters, i, lanes) for each register of elements i..i+lanes; lanes is a WholeVector
// or, at the end of a tile, an int64_t. A uniform quantizer's parameters stay in registers.
template <typename Run>
QAT_INLINE void for_each_vector(const Quantizer& quantizer, int64_t n, Run run) {
  const Quantizer q = quantizer;  // whose address the stores of `run` cannot know
  const CodeEnds ends(q);
  if (q.width == 1) {
    const CodeVectors parameters(q, ends);
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) run(parameters, i, WholeVector{});
    if (i < n) run(parameters, i, n - i);
    return;
  }
  for (int64_t i = 0; i < n; i += q.width) {
    const int64_t m = n - i < q.width ? n - i : q.width;
    int64_t j = 0;
    for (; j + kLanes <= m; j += kLanes) {
      run(CodeVectors(q, ends, j, WholeVector{}), i + j, WholeVector{});
    }
    if (j < m) run(CodeVectors(q, ends, j, m - j), i + j, m - j);
  }
}

// Calls run.operator()<streams>() with the choice of the caller.
template <typename Run>
QAT_INLINE void with_streaming(bool streams, Run run) {
  if (!streams) return run.template operator()<false>();
  run.template operator()<true>();
  end_streaming();
}

}  // namespace

void quantize(const Quantizer& q, const float* x, uint8_t* codes, int64_t n) {
  for_each_vector(q, n, [=](const CodeVectors& parameters, int64_t i, auto lanes) {
    store_codes(codes + i, parameters.quantize(load<FloatVector>(x + i, lanes)), lanes);
  });
}

void dequantize(const Quantizer& q, const uint8_t* codes, bool is_signed, float* x, int64_t n) {
  // A signed code is the unsigned one with its top bit flipped, less 128.
  const int32_t flip = is_signed ? 128 : 0;
  with_streaming(q.streams, [&]<bool streams>() {
    for_each_vector(q, n, [=](const CodeVectors& parameters, int64_t i, auto lanes) {
      const IntVector each = (load_codes(codes + i, lanes) ^ flip) - flip;
      store_result<streams>(x + i, parameters.dequantize(each), lanes);
    });
  });
}

void fake_quantize(const Quantizer& q, const float* x, float* out, int64_t n) {
  with_streaming(q.streams, [&]<bool streams>() {
    for_each_vector(q, n, [=](const CodeVectors& parameters, int64_t i, auto lanes) {
      const IntVector codes = parameters.quantize(load<FloatVector>(x + i, lanes));
      store_result<streams>(out + i, parameters.dequantize(codes), lanes);
    });
  });
}

void fake_quantize_backward(const Quantizer& q, const float* grad, const float* x, float* out,
                            int64_t n) {
  with_streaming(q.streams, [&]<bool streams>() {
    for_each_vector(q, n, [=](const CodeVectors& parameters, int64_t i, auto lanes) {
      const FloatVector gradient = load<FloatVector>(grad + i, lanes);
      const auto passes = parameters.passes(load<FloatVector>(x + i, lanes));
      store_result<streams>(out + i, passes ? gradient : FloatVector{}, lanes);
    });
  });
}

}  // namespace qat::kernels::QAT_CPU_CAPABILITY
