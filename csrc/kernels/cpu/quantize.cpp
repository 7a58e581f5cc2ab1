// Rules 2 to 4 of docs/numerics.md over arrays.

#include "numerics/quantize.h"

#include "kernels/cpu/capability.h"

namespace qat::kernels::QAT_CPU_CAPABILITY {
namespace {

// Calls run(x offset, length, uniform) for each stretch in which element j has the parameters j.
// `run` is a template so that a uniform quantizer's parameters stay in registers.
template <typename Run>
QAT_INLINE void for_each_tile(const Quantizer& q, int64_t n, Run run) {
  if (q.width == 1) {
    run.template operator()<true>(0, n);
    return;
  }
  for (int64_t i = 0; i < n; i += q.width) {
    run.template operator()<false>(i, n - i < q.width ? n - i : q.width);
  }
}

template <bool uniform>
QAT_INLINE int32_t code_of(const Quantizer& q, float x, int64_t j) {
  const int64_t k = uniform ? 0 : j;
  return numerics::quantize(x, q.inverse_scale[k], numerics::to_float(q.zero_point[k]), q.quant_min,
                            q.quant_max);
}

template <bool uniform, typename Code>
QAT_INLINE void dequantize_run(const Quantizer& q, const Code* __restrict codes,
                               float* __restrict x, int64_t n) {
  for (int64_t j = 0; j < n; ++j) {
    const int64_t k = uniform ? 0 : j;
    x[j] = numerics::dequantize(codes[j], q.zero_point[k], q.scale[k]);
  }
}

}  // namespace

void quantize(const Quantizer& quantizer, const float* x, uint8_t* codes, int64_t n) {
  const Quantizer q = quantizer;
  for_each_tile(q, n, [=]<bool uniform>(int64_t i, int64_t m) {
    const float* __restrict in = x + i;
    uint8_t* __restrict out = codes + i;
    for (int64_t j = 0; j < m; ++j) out[j] = static_cast<uint8_t>(code_of<uniform>(q, in[j], j));
  });
}

void dequantize(const Quantizer& quantizer, const uint8_t* codes, bool is_signed, float* x,
                int64_t n) {
  const Quantizer q = quantizer;
  for_each_tile(q, n, [=]<bool uniform>(int64_t i, int64_t m) {
    if (is_signed) {
      dequantize_run<uniform>(q, reinterpret_cast<const int8_t*>(codes) + i, x + i, m);
    } else {
      dequantize_run<uniform>(q, codes + i, x + i, m);
    }
  });
}

void fake_quantize(const Quantizer& quantizer, const float* x, float* out, int64_t n) {
  const Quantizer q = quantizer;
  for_each_tile(q, n, [=]<bool uniform>(int64_t i, int64_t m) {
    const float* __restrict in = x + i;
    float* __restrict to = out + i;
    for (int64_t j = 0; j < m; ++j) {
      const int64_t k = uniform ? 0 : j;
      to[j] = numerics::dequantize(code_of<uniform>(q, in[j], j), q.zero_point[k], q.scale[k]);
    }
  });
}

void fake_quantize_backward(const Quantizer& quantizer, const float* grad, const float* x,
                            float* out, int64_t n) {
  const Quantizer q = quantizer;
  for_each_tile(q, n, [=]<bool uniform>(int64_t i, int64_t m) {
    const float* __restrict in = x + i;
    const float* __restrict from = grad + i;
    float* __restrict to = out + i;
    for (int64_t j = 0; j < m; ++j) {
      const int64_t k = uniform ? 0 : j;
      const float r =
          numerics::unclamped_code(in[j], q.inverse_scale[k], numerics::to_float(q.zero_point[k]));
      to[j] = numerics::straight_through(r, q.quant_min, q.quant_max) ? from[j] : 0.0f;
    }
  });
}

}  // namespace qat::kernels::QAT_CPU_CAPABILITY
