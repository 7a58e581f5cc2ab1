#pragma once
// The epilogue of Note [Clamps become bounds] in one pass over a tile.
//
// Compilers vectorise a loop from accumulators to bytes at the width of the bytes, 128 bits (half
// of the time of a MobileNetV2), so that the vectors are explicit: each instruction set brings a
// class Simd with its registers, and QAT_TARGET, its function attribute. The operations stand in
// the order of rules 7, 8, 3, 10 and 2. Clamping to integers before rounding is clamping after it.

#include <cstring>

#include "kernels/cpu/gemm_u8s8.h"

#define QAT_DIRECT QAT_TARGET static inline __attribute__((always_inline))

namespace qat::kernels::u8s8 {

struct DirectConstants {
  Direct direct;
  float operand_scale;
  int32_t operand_zero_point;
  bool is_signed;
};

struct DirectBlock {  // one group of vectors of all rows
  const int32_t* acc;
  const float* multiplier;
  const float* bias;
  const uint8_t* operand;
  uint8_t* codes;
  int64_t rows, acc_stride, operand_stride, codes_stride;  // in bytes but for acc
};

template <typename Simd, DirectOperand kind>
struct DirectOperandReader {
  QAT_DIRECT typename Simd::Float read(const uint8_t* from, typename Simd::Int zero_point,
                                       typename Simd::Float scale) {
    if constexpr (kind == DirectOperand::values) return Simd::load_floats(from);
    const auto code =
        kind == DirectOperand::signed_codes ? Simd::load_signed(from) : Simd::load_unsigned(from);
    return Simd::mul(Simd::to_float(Simd::sub(code, zero_point)), scale);
  }
};

template <typename Simd, DirectOperand kind, bool bounded, int vectors>
QAT_DIRECT void direct_block(const DirectBlock& b, const DirectConstants& k) {
  using Float = typename Simd::Float;
  using Int = typename Simd::Int;
  constexpr int64_t kOperandBytes = kind == DirectOperand::values ? 4 : 1;
  Float multiplier[vectors], bias[vectors];
  for (int i = 0; i < vectors; ++i) {
    multiplier[i] = Simd::load_floats(b.multiplier + i * Simd::lanes);
    bias[i] = Simd::load_floats(b.bias + i * Simd::lanes);
  }
  const Float inverse = Simd::fill(k.direct.inverse);
  const Float zero_point = Simd::fill(k.direct.zero_point);
  const Float lowest = Simd::fill(k.direct.lowest), highest = Simd::fill(k.direct.highest);
  // What was clamped already passes: the zero point of a NaN may lie outside the bounds.
  const int least = k.is_signed ? -128 : 0;
  const auto bounds =
      bounded ? Simd::bounds(static_cast<int>(k.direct.lowest), static_cast<int>(k.direct.highest))
              : Simd::bounds(least, least + 255);
  const Float scale = Simd::fill(k.operand_scale);
  const Int operand_zero_point = Simd::fill(k.operand_zero_point);
  for (int64_t r = 0; r < b.rows; ++r) {
    Int codes[vectors];
#pragma GCC unroll 4
    for (int i = 0; i < vectors; ++i) {
      const Int acc = Simd::load_ints(b.acc + r * b.acc_stride + i * Simd::lanes);
      const Float exact = Simd::to_float(acc);
      Float v = Simd::add(Simd::mul(exact, multiplier[i]), bias[i]);
      if constexpr (kind != DirectOperand::none) {
        const uint8_t* from = b.operand + r * b.operand_stride + i * Simd::lanes * kOperandBytes;
        v = Simd::add(v, DirectOperandReader<Simd, kind>::read(from, operand_zero_point, scale));
      }
      v = Simd::add(Simd::mul(v, inverse), zero_point);
      Float code = bounded ? v : Simd::clamp(v, lowest, highest);
      if constexpr (kind == DirectOperand::values) code = Simd::unless_nan(v, code, zero_point);
      codes[i] = Simd::round(code);
    }
    Simd::template store<vectors>(codes, k.is_signed, bounds, b.codes + r * b.codes_stride);
  }
}

template <typename Simd, DirectOperand kind, bool bounded>
QAT_DIRECT void direct_blocks(DirectBlock b, int64_t width, const DirectConstants& k) {
  constexpr int64_t kOperandBytes = kind == DirectOperand::values ? 4 : 1;
  const auto advance = [&](int64_t n) __attribute__((always_inline)) {
    b.acc += n;
    b.multiplier += n;
    b.bias += n;
    b.operand += n * kOperandBytes;
    b.codes += n;
    width -= n;
  };
  while (width >= Simd::group * Simd::lanes) {
    direct_block<Simd, kind, bounded, Simd::group>(b, k);
    advance(Simd::group * Simd::lanes);
  }
  if constexpr (Simd::group > 2) {
    if (width == 3 * Simd::lanes) return direct_block<Simd, kind, bounded, 3>(b, k);
    if (width == 2 * Simd::lanes) return direct_block<Simd, kind, bounded, 2>(b, k);
  }
  if (width == Simd::lanes) direct_block<Simd, kind, bounded, 1>(b, k);
}

template <typename Simd, DirectOperand kind, bool bounded>
QAT_DIRECT void direct_tile_of(const Epilogue& e, const EpilogueTile& t, const uint8_t* operand,
                               const DirectConstants& k) {
  constexpr int64_t kOperandBytes = kind == DirectOperand::values ? 4 : 1;
  DirectBlock b{t.acc,
                e.multiplier + t.channel,
                e.bias + t.channel,
                operand == nullptr ? nullptr : operand + t.output * kOperandBytes,
                e.codes + t.output,
                t.rows,
                t.width,
                t.output_stride * kOperandBytes,
                t.output_stride};
  if (t.channels == t.width) {
    direct_blocks<Simd, kind, bounded>(b, t.width, k);
    return;
  }
  // Lanes without a channel must neither be read nor written.
  alignas(64) uint8_t operand_copy[kMaxTileElements * kOperandBytes] = {};
  alignas(64) uint8_t codes_copy[kMaxTileElements];
  if (kind != DirectOperand::none) {
    for (int64_t r = 0; r < t.rows; ++r) {
      std::memcpy(operand_copy + r * t.width * kOperandBytes, b.operand + r * b.operand_stride,
                  static_cast<size_t>(t.channels * kOperandBytes));
    }
  }
  b.operand = operand_copy;
  b.operand_stride = t.width * kOperandBytes;
  b.codes = codes_copy;
  b.codes_stride = t.width;
  direct_blocks<Simd, kind, bounded>(b, t.width, k);
  for (int64_t r = 0; r < t.rows; ++r) {
    std::memcpy(e.codes + t.output + r * t.output_stride, codes_copy + r * t.width,
                static_cast<size_t>(t.channels));
  }
}

template <typename Simd, DirectOperand kind>
QAT_DIRECT void direct_kind(const Epilogue& e, const EpilogueTile& t, const uint8_t* operand,
                            const DirectConstants& k) {
  if (k.direct.bounded && kind != DirectOperand::values) {
    direct_tile_of<Simd, kind, kind != DirectOperand::values>(e, t, operand, k);
  } else {
    direct_tile_of<Simd, kind, false>(e, t, operand, k);
  }
}

template <typename Simd>
QAT_DIRECT void direct_tile(const Epilogue& e, const EpilogueTile& t) {
  DirectConstants k{e.direct, 1.0f, 0, e.format.is_signed};
  const uint8_t* operand = nullptr;
  if (e.direct.operand != DirectOperand::none) {
    const Stage& stage = e.stages.front();
    operand = stage.reads_codes ? stage.codes : reinterpret_cast<const uint8_t*>(stage.values);
    k.operand_scale = stage.params.scale;
    k.operand_zero_point = stage.params.zero_point;
  }
  switch (e.direct.operand) {
    case DirectOperand::none:
      return direct_kind<Simd, DirectOperand::none>(e, t, operand, k);
    case DirectOperand::unsigned_codes:
      return direct_kind<Simd, DirectOperand::unsigned_codes>(e, t, operand, k);
    case DirectOperand::signed_codes:
      return direct_kind<Simd, DirectOperand::signed_codes>(e, t, operand, k);
    case DirectOperand::values:
      return direct_kind<Simd, DirectOperand::values>(e, t, operand, k);
  }
}

// store_accumulators() of a tile all of whose lanes exist.
template <typename Simd>
QAT_DIRECT void store_whole_accumulators(const Epilogue& e, const EpilogueTile& t) {
  const int32_t* acc = t.acc;
  float* to = e.values + t.output;
  for (int64_t r = 0; r < t.rows; ++r, acc += t.width, to += t.output_stride) {
    for (int64_t i = 0; i < t.width; i += Simd::lanes) {
      const auto exact = Simd::to_float(Simd::load_ints(acc + i));
      e.streams ? Simd::stream_floats(to + i, exact) : Simd::store_floats(to + i, exact);
    }
  }
}

}  // namespace qat::kernels::u8s8
