#pragma once
// Preparing the operands, as inline code: each instruction set compiles its own copy
// (Note [No contraction] in numerics/arith.h).

#include <algorithm>

#include "kernels/cpu/conv_backward_s16_kernels.h"
#include "numerics/arith.h"
#include "numerics/float_order.h"

namespace qat::kernels::s16 {

// The nearest integer in the low 16 bits, ties to even: at 1.5 * 2^23 a float's last bit is worth
// one. |v| stays below 2^22 by far.
QAT_INLINE uint32_t rounded_bits(float v) {
  return static_cast<uint32_t>(numerics::float_bits(numerics::add(v, 12582912.0f)));
}

QAT_INLINE uint32_t pair(uint32_t low, uint32_t high) { return (low & 0xffffu) | (high << 16); }

QAT_INLINE void absmax_body(const float* x, int64_t n, int64_t width, int32_t* maximum) {
  for (int64_t at = 0; at < n; at += width) {
    const int64_t count = std::min(width, n - at);
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      const int32_t bits = numerics::float_bits(x[at + i]) & 0x7fffffff;
      maximum[i] = maximum[i] < bits ? bits : maximum[i];
    }
  }
}

QAT_INLINE void round_grad_body(const float* x, int64_t n, const float* factor, int64_t width,
                                float inverse, int16_t* out) {
  for (int64_t at = 0; at < n; at += width) {
    const int64_t count = std::min(width, n - at);
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      const float scaled = numerics::mul(x[at + i], factor[i]);
      out[at + i] = static_cast<int16_t>(rounded_bits(numerics::mul(scaled, inverse)));
    }
  }
}

QAT_INLINE void absmax_pair_body(const PairSource& s, const float* low, const float* high,
                                 int32_t* maximum) {
  for (int64_t p = 0; p < s.positions; ++p, low += s.stride, high += s.stride) {
#pragma omp simd
    for (int64_t i = 0; i < s.count; ++i) {
      const int32_t a = numerics::float_bits(low[i]) & 0x7fffffff;
      const int32_t b = numerics::float_bits(high[i]) & 0x7fffffff;
      const int32_t larger = a < b ? b : a;
      maximum[i] = maximum[i] < larger ? larger : maximum[i];
    }
  }
}

QAT_INLINE void clear_behind(const PairSource& s, uint32_t* out) {
  for (int64_t i = s.count; i < s.width; ++i) out[i] = 0;
}

QAT_INLINE void pair_grad_body(const PairSource& s, const float* low, const float* high,
                               const float* inverse, uint32_t* out) {
  for (int64_t p = 0; p < s.positions; ++p, low += s.stride, high += s.stride, out += s.width) {
#pragma omp simd
    for (int64_t i = 0; i < s.count; ++i) {
      out[i] = pair(rounded_bits(numerics::mul(low[i], inverse[i])),
                    rounded_bits(numerics::mul(high[i], inverse[i])));
    }
    clear_behind(s, out);
  }
}

QAT_INLINE void pair_codes_body(const PairSource& s, const uint8_t* low, const uint8_t* high,
                                uint8_t flip, int32_t zero_point, uint32_t* out) {
  for (int64_t p = 0; p < s.positions; ++p, low += s.stride, high += s.stride, out += s.width) {
#pragma omp simd
    for (int64_t i = 0; i < s.count; ++i) {
      const int32_t a = static_cast<uint8_t>(low[i] ^ flip) - zero_point;
      const int32_t b = static_cast<uint8_t>(high[i] ^ flip) - zero_point;
      out[i] = pair(static_cast<uint32_t>(a), static_cast<uint32_t>(b));
    }
    clear_behind(s, out);
  }
}

QAT_INLINE void pair_weights_body(const PairSource& s, const int8_t* low, const int8_t* high,
                                  uint32_t* out) {
  const auto word = [](int8_t a, int8_t b) {
    return pair(static_cast<uint32_t>(int32_t{a}), static_cast<uint32_t>(int32_t{b}));
  };
  if (s.stride == 1) {
#pragma omp simd
    for (int64_t i = 0; i < s.count; ++i) out[i] = word(low[i], high[i]);
  } else {
    for (int64_t i = 0; i < s.count; ++i) out[i] = word(low[i * s.stride], high[i * s.stride]);
  }
  clear_behind(s, out);
}

QAT_INLINE void store_rows_body(const float* acc, int64_t width, float scale,
                                const int64_t* offsets, int64_t rows, int64_t columns, float* out) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* from = acc + r * width;
    float* to = out + offsets[r];
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i) to[i] = numerics::mul(from[i], scale);
  }
}

}  // namespace qat::kernels::s16
