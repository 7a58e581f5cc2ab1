#pragma once
// From accumulators to stored results: rules 7, 8, 9, 10 and 2 of docs/numerics.md in a row.
//
// Note [Clamps become bounds]
// x -> rne(x * inv + zp) never decreases, rounding included, so relu and clamp in front of it are
// the same as clamping its result: f(clamp(v, lo, hi)) = clamp(f(v), f(lo), f(hi)). A layer whose
// stages are at most one added operand and then at most one of these is `direct`: one pass from
// the accumulator to the code. Its values are never NaN as long as multipliers, biases and
// operands are finite (an infinite product plus a finite number stays infinite), and the sign of
// zero does not reach the code, so that a missing bias may be an added 0. Where the largest
// possible value fits an int32 (`bounded`), rounding comes before the clamping, which then is that
// of the instructions that narrow to bytes.

#include <cstdint>
#include <vector>

#include "numerics/activation.h"
#include "numerics/format.h"
#include "numerics/qparams.h"
#include "numerics/quantize.h"
#include "numerics/requantize.h"

namespace qat::kernels::u8s8 {

enum class StageKind { activation, channel_slope, affine, operand };
enum class OperandKind { add, sub, sub_from, mul };  // sub_from: operand - value

// One step between the layer's real value and the store.
struct Stage {
  StageKind kind = StageKind::activation;
  numerics::Activation activation;
  const float* multiplier = nullptr;  // affine; the slope of channel_slope
  const float* bias = nullptr;
  OperandKind op = OperandKind::add;
  // The operand has the layout of the output: floats, or codes with their parameters.
  const float* values = nullptr;
  const uint8_t* codes = nullptr;
  bool reads_codes = false;  // which of the two it will be
  bool codes_signed = false;
  numerics::QuantParams params;
};

// Arrays per channel are readable kEpiloguePadding entries beyond the last channel.
constexpr size_t kEpiloguePadding = 64;

enum class DirectOperand { none, unsigned_codes, signed_codes, values };

// The bounds of Note [Clamps become bounds].
struct Direct {
  bool possible = false;
  DirectOperand operand = DirectOperand::none;
  bool bounded = false;
  float lowest = 0.0f, highest = 0.0f;  // codes
  float inverse = 0.0f, zero_point = 0.0f;
};

struct Epilogue {
  bool accumulators = false;  // store float(acc) in `values` and nothing else
  // Store them past the caches; `values` is aligned to 64 bytes, and 16 divides the channels of a
  // group (of all of them where groups are single channels).
  bool streams = false;
  const float* multiplier = nullptr;
  const float* bias = nullptr;
  bool has_bias = true;  // else zeros that must not be added where the sign of zero shows
  std::vector<Stage> stages;
  // The output: codes or floats.
  bool writes_codes = false;
  uint8_t* codes = nullptr;
  float* values = nullptr;
  numerics::QuantParams params;
  numerics::IntFormat format;
  Direct direct;
};

// Whether the stages, the output and `channels` multipliers and biases allow it, and the bounds.
// largest_sum: of the magnitude of an accumulator.
Direct direct_form(const Epilogue& epilogue, int64_t channels, double largest_sum);

// Where a tile of accumulators lies in the output.
struct EpilogueTile {
  const int32_t* acc = nullptr;  // [rows][width]
  int64_t rows = 0, width = 0;
  int64_t channel = 0, channels = 0;  // first channel, number that exist
  int64_t output = 0;                 // element index of the first row in the output
  int64_t output_stride = 0;          // elements between rows
};

}  // namespace qat::kernels::u8s8
