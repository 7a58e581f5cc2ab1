#pragma once
// What each instruction set defines for conv_backward_s16.h, and what the two gradients share.
//
// A word is a pair of int16 in 32 bits. A tile multiplies words of up to kMaxRows rows, each
// broadcast to all lanes, by vectors of words, and adds the sums of the pairs to floats.

#include <cstdint>
#include <string_view>
#include <vector>

#include "kernels/cpu/conv_backward_s16.h"
#include "kernels/cpu/conv_backward_scatter.h"
#include "kernels/cpu/conv_backward_tiles.h"
#include "kernels/cpu/gemm_u8s8.h"

namespace qat::kernels::s16 {

constexpr int64_t kLaneUnit = 16;      // columns are padded to a multiple of this
constexpr int64_t kBlockColumns = 64;  // columns that are packed together
constexpr int64_t kBlockRows = 48;     // rows that are packed together
constexpr int64_t kDataFlush = 256;    // pairs, Note [Flush points]
constexpr int64_t kWeightFlush = 128;  // pairs
constexpr int kMaxVectors = 4;
constexpr int kMaxRows = 12;

// Sums over taps and over `pairs` output channel pairs of each.
struct DataTile {
  const uint32_t* const* positions = nullptr;  // gradient of one output position per row
  const int64_t* tap_offsets = nullptr;        // in words, shared by the rows
  int64_t taps = 0;
  int64_t pairs = 0;
  const uint32_t* weights = nullptr;  // [tap][pair][column]
  int64_t tap_stride = 0, pair_stride = 0;
  float* acc = nullptr;  // [row][pair_stride]
  bool first = false;    // overwrite acc instead of adding to it
  // Not null: the sums are complete; row r goes to result[offsets[r] + column], times scale,
  // instead of to acc.
  float* result = nullptr;
  const int64_t* offsets = nullptr;
  float scale = 0.0f;
};

// Consecutive output positions; offsets in positions of the two operands.
struct Run {
  int64_t grad = 0, input = 0, count = 0;
};

// Sums over the positions of some runs.
struct WeightTile {
  const uint32_t* rows = nullptr;
  const uint32_t* columns = nullptr;
  int64_t row_step = 0, column_step = 0;    // words from one position of a run to the next
  int64_t row_width = 0, column_width = 0;  // words of a position
  bool rows_are_grad = true;
  const Run* runs = nullptr;
  int64_t run_count = 0;
  const float* scale = nullptr;  // of the sums, per channel of the gradient
  float* acc = nullptr;          // [row][column_width]
  bool first = false;
};

// Consecutive channels of some positions, as pairs of two positions.
struct PairSource {
  int64_t positions = 0;
  int64_t stride = 0;  // elements between positions
  int64_t count = 0;   // channels
  int64_t width = 0;   // words written per position; those behind `count` become zero
};

struct Kernels {
  const char* name;
  int64_t lanes;
  int max_vectors;
  int max_rows[kMaxVectors + 1];                                      // by number of vectors
  void (*data_tile[kMaxVectors + 1][kMaxRows + 1])(const DataTile&);  // [vectors][rows]
  void (*weight_tile[kMaxVectors + 1][kMaxRows + 1])(const WeightTile&);

  // maximum[i % width] = max(maximum[i % width], magnitude bits of x[i]); NaN is above infinity.
  void (*absmax)(const float* x, int64_t n, int64_t width, int32_t* maximum);
  // out[i] = x[i] * factor[i % width] * inverse, rounded.
  void (*round_grad)(const float* x, int64_t n, const float* factor, int64_t width, float inverse,
                     int16_t* out);
  // The same per channel over both sources.
  void (*absmax_pair)(const PairSource&, const float* low, const float* high, int32_t* maximum);
  void (*pair_grad)(const PairSource&, const float* low, const float* high, const float* inverse,
                    uint32_t* out);
  // Codes are read as code ^ flip.
  void (*pair_codes)(const PairSource&, const uint8_t* low, const uint8_t* high, uint8_t flip,
                     int32_t zero_point, uint32_t* out);
  // One position; `stride` is between channels.
  void (*pair_weights)(const PairSource&, const int8_t* low, const int8_t* high, uint32_t* out);
  // out[offsets[i] + j] = acc[i * width + j] * scale, j < columns.
  void (*store_rows)(const float* acc, int64_t width, float scale, const int64_t* offsets,
                     int64_t rows, int64_t columns, float* out);
  // out[offsets[tap] + j * column_stride] = from[tap][j] * scale.
  void (*scatter)(const ScatterTile&, float* out);
};

const Kernels& portable_kernels();
#if defined(__x86_64__)
const Kernels& avx2_kernels();
const Kernels& avx512_kernels();
const Kernels& avx512_vnni_kernels();
#endif

// Every table that this machine can run, best first.
const std::vector<const Kernels*>& available_kernels();
// The best one within what QAT_CPU_CAPABILITY may name, which this machine has.
const Kernels& kernels_for(std::string_view capability);

void conv_backward_data(const Kernels& kernels, const ConvShape& shape, const float* grad,
                        const int8_t* weight, const std::array<int64_t, 4>& weight_strides,
                        const float* weight_scale, float* d_input, const ParallelFor& parallel_for);
void conv_backward_weight(const Kernels& kernels, const ConvShape& shape, const float* grad,
                          const uint8_t* codes, int32_t zero_point, float input_scale,
                          float* d_weight, const std::array<int64_t, 4>& weight_strides,
                          const ParallelFor& parallel_for, bool codes_are_signed);

// Magnitude bits of the largest gradient of every output channel.
std::vector<int32_t> grad_absmax(const Kernels& kernels, const ConvShape& shape, const float* grad,
                                 const ParallelFor& parallel_for);

// A quantity as code * scale, code = rne(quantity * inverse), |code| <= 32767.
struct Rounding {
  float scale = 0.0f, inverse = 0.0f;
};

Rounding rounding_for(float largest);

}  // namespace qat::kernels::s16
