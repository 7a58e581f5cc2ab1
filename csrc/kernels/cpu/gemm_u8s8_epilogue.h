#pragma once
// From accumulators to stored results: rules 7, 8, 9, 10 and 2 of docs/numerics.md in a row.

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
  bool codes_signed = false;
  numerics::QuantParams params;
};

struct Epilogue {
  const int32_t* compensation = nullptr;  // per channel, added to the accumulator
  const float* multiplier = nullptr;
  const float* bias = nullptr;  // or null: no addition
  std::vector<Stage> stages;
  // The output: codes, or floats when `codes` is null.
  uint8_t* codes = nullptr;
  float* values = nullptr;
  numerics::QuantParams params;
  numerics::IntFormat format;
};

// Where a tile of accumulators lies in the output.
struct EpilogueTile {
  const int32_t* acc = nullptr;  // [rows][width]
  int64_t rows = 0, width = 0;
  int64_t channel = 0, channels = 0;  // first channel, number that exist
  int64_t output = 0;                 // element index of the first row in the output
  int64_t output_stride = 0;          // elements between rows
};

}  // namespace qat::kernels::u8s8
