#pragma once
// The epilogue as inline code: each instruction set compiles its own copy
// (Note [No contraction] in numerics/arith.h).

#include <cstring>

#include "kernels/cpu/gemm_u8s8.h"

namespace qat::kernels::u8s8 {

template <numerics::ActivationKind kind>
QAT_INLINE void activate_row(float* v, int64_t n, float p0, float p1) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) v[i] = numerics::activate<kind>(v[i], p0, p1);
}

QAT_INLINE void activate_row(float* v, int64_t n, numerics::Activation a) {
  using K = numerics::ActivationKind;
  switch (a.kind) {
    case K::none:
      break;
    case K::relu:
      activate_row<K::relu>(v, n, a.p0, a.p1);
      break;
    case K::clamp:
      activate_row<K::clamp>(v, n, a.p0, a.p1);
      break;
    case K::leaky_relu:
      activate_row<K::leaky_relu>(v, n, a.p0, a.p1);
      break;
    case K::hardswish:
      activate_row<K::hardswish>(v, n, a.p0, a.p1);
      break;
    case K::hardsigmoid:
      activate_row<K::hardsigmoid>(v, n, a.p0, a.p1);
      break;
  }
}

QAT_INLINE void slope_row(float* v, const float* slope, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    v[i] = numerics::activate<numerics::ActivationKind::leaky_relu>(v[i], slope[i], 0.0f);
  }
}

QAT_INLINE void affine_row(float* v, const float* multiplier, const float* bias, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) v[i] = numerics::real_value(v[i], multiplier[i], bias[i]);
}

template <OperandKind op>
QAT_INLINE void combine_row(float* v, const float* other, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    if constexpr (op == OperandKind::add) v[i] = numerics::add(v[i], other[i]);
    if constexpr (op == OperandKind::sub) v[i] = numerics::add(v[i], -other[i]);
    if constexpr (op == OperandKind::sub_from) v[i] = numerics::add(other[i], -v[i]);
    if constexpr (op == OperandKind::mul) v[i] = numerics::mul(v[i], other[i]);
  }
}

template <typename Code>
QAT_INLINE void dequantize_row(const Code* codes, float* x, int64_t n, numerics::QuantParams p) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) x[i] = numerics::dequantize(codes[i], p.zero_point, p.scale);
}

template <OperandKind op>
QAT_INLINE void combine_rows(float* v, const float* other, int64_t stride, const EpilogueTile& t) {
  for (int64_t r = 0; r < t.rows; ++r)
    combine_row<op>(v + r * t.width, other + r * stride, t.channels);
}

QAT_INLINE void operand_stage(const Stage& stage, const EpilogueTile& t, float* v) {
  float buffer[kMaxTileElements];
  const float* other = buffer;
  int64_t stride = t.width;
  if (!stage.reads_codes) {
    other = stage.values + t.output;
    stride = t.output_stride;
  } else {
    uint8_t codes[kMaxTileElements] = {};
    for (int64_t r = 0; r < t.rows; ++r) {
      const uint8_t* from = stage.codes + t.output + r * t.output_stride;
      std::memcpy(codes + r * t.width, from, static_cast<size_t>(t.channels));
    }
    if (stage.codes_signed) {
      dequantize_row(reinterpret_cast<const int8_t*>(codes), buffer, t.rows * t.width,
                     stage.params);
    } else {
      dequantize_row(codes, buffer, t.rows * t.width, stage.params);
    }
  }
  switch (stage.op) {
    case OperandKind::add:
      combine_rows<OperandKind::add>(v, other, stride, t);
      break;
    case OperandKind::sub:
      combine_rows<OperandKind::sub>(v, other, stride, t);
      break;
    case OperandKind::sub_from:
      combine_rows<OperandKind::sub_from>(v, other, stride, t);
      break;
    case OperandKind::mul:
      combine_rows<OperandKind::mul>(v, other, stride, t);
      break;
  }
}

QAT_INLINE void run_stage(const Stage& stage, const EpilogueTile& t, float* v) {
  if (stage.kind == StageKind::activation) activate_row(v, t.rows * t.width, stage.activation);
  if (stage.kind == StageKind::operand) operand_stage(stage, t, v);
  for (int64_t r = 0; r < t.rows; ++r) {
    float* row = v + r * t.width;
    if (stage.kind == StageKind::channel_slope) {
      slope_row(row, stage.multiplier + t.channel, t.channels);
    } else if (stage.kind == StageKind::affine) {
      affine_row(row, stage.multiplier + t.channel, stage.bias + t.channel, t.channels);
    }
  }
}

QAT_INLINE void real_values(const Epilogue& e, const int32_t* acc, int64_t channel, int64_t n,
                            float* v) {
  const float* multiplier = e.multiplier + channel;
  if (!e.has_bias) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
      v[i] = numerics::mul(numerics::to_float(acc[i]), multiplier[i]);
    }
    return;
  }
  const float* bias = e.bias + channel;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    v[i] = numerics::real_value(numerics::to_float(acc[i]), multiplier[i], bias[i]);
  }
}

QAT_INLINE void quantize_row(const Epilogue& e, float inverse, const float* v, uint8_t* codes,
                             int64_t n) {
  const float zero_point = numerics::to_float(e.params.zero_point);
  const float quant_min = numerics::to_float(e.format.quant_min());
  const float quant_max = numerics::to_float(e.format.quant_max());
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    codes[i] =
        static_cast<uint8_t>(numerics::quantize(v[i], inverse, zero_point, quant_min, quant_max));
  }
}

QAT_INLINE void store_accumulators(const Epilogue& e, const EpilogueTile& t) {
  for (int64_t r = 0; r < t.rows; ++r) {
    const int32_t* __restrict acc = t.acc + r * t.width;
    float* __restrict to = e.values + t.output + r * t.output_stride;
#pragma omp simd
    for (int64_t i = 0; i < t.channels; ++i) to[i] = numerics::to_float(acc[i]);
  }
}

// Note [Flat tiles]
// A loop that ends in bytes is vectorised 64 elements at a time, so a row of 16 channels would run
// in its scalar remainder (47 % of a small ResNet's time). Steps without per-channel constants
// therefore run over the whole tile, channels that do not exist included (they hold zero).
QAT_INLINE void epilogue_body(const Epilogue& e, const EpilogueTile& t) {
  if (e.accumulators) return store_accumulators(e, t);
  alignas(64) float v[kMaxTileElements];
  if (t.channels < t.width)
    std::memset(v, 0, static_cast<size_t>(t.rows * t.width) * sizeof(float));
  for (int64_t r = 0; r < t.rows; ++r) {
    real_values(e, t.acc + r * t.width, t.channel, t.channels, v + r * t.width);
  }
  for (const Stage& stage : e.stages) run_stage(stage, t, v);
  if (!e.writes_codes) {
    for (int64_t r = 0; r < t.rows; ++r) {
      std::memcpy(e.values + t.output + r * t.output_stride, v + r * t.width,
                  static_cast<size_t>(t.channels) * sizeof(float));
    }
    return;
  }
  alignas(64) uint8_t codes[kMaxTileElements];
  quantize_row(e, numerics::inverse_scale(e.params.scale), v, codes, t.rows * t.width);
  for (int64_t r = 0; r < t.rows; ++r) {
    std::memcpy(e.codes + t.output + r * t.output_stride, codes + r * t.width,
                static_cast<size_t>(t.channels));
  }
}

}  // namespace qat::kernels::u8s8
