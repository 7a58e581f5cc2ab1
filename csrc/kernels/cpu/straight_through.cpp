// Rule 4 of docs/numerics.md as one bit per element: written beside the result of rules 2 and 3,
// and applied to a gradient.

#include "kernels/cpu/capability.h"
#include "kernels/cpu/vector_bits.h"
#include "kernels/cpu/vector_codes.h"
#include "kernels/cpu/vector_range.h"

namespace qat::kernels::QAT_CPU_CAPABILITY {
namespace {

QAT_INLINE uint32_t pass_bits(const CodeVectors& parameters, FloatVector x) {
  return bits_between(parameters.ends.first, parameters.position(x), parameters.ends.last);
}

// Calls run(parameters, i, lanes) for each register of a row's elements i..i+lanes, which returns
// the bits of rule 4 for them. parameters_at(j, lanes): those of the row's elements from j on.
template <typename ParametersAt, typename Run>
QAT_INLINE void write_row(int64_t begin, int64_t n, BitWriter& writer, ParametersAt parameters_at,
                          Run run) {
  int64_t j = 0;
  for (; j + kGroup <= n; j += kGroup) {
    uint32_t bits = 0;
    for (int64_t r = 0; r < kGroup; r += kLanes) {
      const auto& parameters = parameters_at(j + r, WholeVector{});
      bits |= run(parameters, begin + j + r, WholeVector{}) << r;
    }
    writer.append_group(bits);
  }
  for (; j < n; j += kLanes) {
    const int64_t lanes = n - j < kLanes ? n - j : kLanes;
    const uint32_t bits = run(parameters_at(j, lanes), begin + j, lanes);
    writer.append(bits & ((1u << lanes) - 1), lanes);
  }
}

template <typename Run>
QAT_INLINE void write_mask(const Quantizer& quantizer, int64_t n, const MaskBits& mask, Run run) {
  const Quantizer q = quantizer;  // whose address the stores of `run` cannot know
  const CodeEnds ends(q);
  BitWriter writer(mask.bytes, mask.first);
  if (q.width == 1) {
    const CodeVectors parameters(q, ends);
    write_row(
        0, n, writer, [&](int64_t, auto) -> const CodeVectors& { return parameters; }, run);
  } else {
    for (int64_t i = 0; i < n; i += q.width) {
      const int64_t m = n - i < q.width ? n - i : q.width;
      write_row(
          i, m, writer, [&](int64_t j, auto lanes) { return CodeVectors(q, ends, j, lanes); }, run);
    }
  }
  writer.finish();
}

template <bool streams>
void fake_quantize_range(const Quantizer& q, const float* x, float* out, int64_t n,
                         const MaskBits& mask) {
  write_mask(q, n, mask, [=](const CodeVectors& parameters, int64_t i, auto lanes) {
    const auto element = load<FloatVector>(x + i, lanes);
    store_result<streams>(out + i, parameters.dequantize(parameters.quantize(element)), lanes);
    return pass_bits(parameters, element);
  });
}

template <bool streams>
void apply_mask(const float* grad, const uint8_t* mask, float* out, int64_t n) {
  int64_t i = 0;
#pragma GCC unroll 4
  for (; i + kGroup <= n; i += kGroup) {
    uint16_t bits;
    __builtin_memcpy(&bits, mask + i / 8, sizeof bits);
    for (int64_t r = 0; r < kGroup; r += kLanes) {
      const auto gradient = load<FloatVector>(grad + i + r);
      store_result<streams>(out + i + r, keep(static_cast<uint32_t>(bits) >> r, gradient),
                            WholeVector{});
    }
  }
  for (; i < n; ++i) out[i] = (mask[i / 8] >> (i % 8) & 1) != 0 ? grad[i] : 0.0f;
}

}  // namespace

void fake_quantize_with_mask(const Quantizer& q, const float* x, float* out, int64_t n,
                             const MaskBits& mask) {
  if (!q.streams) return fake_quantize_range<false>(q, x, out, n, mask);
  fake_quantize_range<true>(q, x, out, n, mask);
  end_streaming();
}

RangeKeys quantize_with_mask(const Quantizer& q, const float* x, uint8_t* codes, int64_t n,
                             const MaskBits& mask) {
  VectorRange seen;
  write_mask(q, n, mask, [=, &seen](const CodeVectors& parameters, int64_t i, auto lanes) {
    const auto element = load<FloatVector>(x + i, lanes);
    seen.include(element, lanes);
    store_codes(codes + i, parameters.quantize(element), lanes);
    return pass_bits(parameters, element);
  });
  RangeKeys keys = seen.keys();
  if (holds_only_finite(keys)) return keys;
  keys = {};
  range(x, n, &keys);
  return keys;
}

void straight_through(const float* grad, const uint8_t* mask, float* out, int64_t n, bool streams) {
  if (!streams) return apply_mask<false>(grad, mask, out, n);
  apply_mask<true>(grad, mask, out, n);
  end_streaming();
}

}  // namespace qat::kernels::QAT_CPU_CAPABILITY
