#pragma once
// What each instruction set defines for conv_backward_f32.h.

#include <cstdint>
#include <vector>

#include "kernels/cpu/conv_backward_f32.h"
#include "kernels/cpu/conv_backward_scatter.h"
#include "kernels/cpu/conv_backward_tiles.h"

namespace qat::kernels::f32 {

constexpr int64_t kLaneUnit = 16;      // columns are padded to a multiple of this
constexpr int64_t kBlockColumns = 64;  // columns that are packed together
constexpr int64_t kBlockRows = 128;    // rows that share packed columns
constexpr int kMaxVectors = 4;
constexpr int kMaxRows = 12;

// A tile adds to acc[r][j], or writes where `first`, the sum over its terms of factor[r] *
// column[j].

// Sums over consecutive terms: rows[r][i] * columns[i * width + j].
struct DataTile {
  const float* const* rows = nullptr;
  float* const* acc = nullptr;
  const float* columns = nullptr;
  int64_t width = 0, count = 0;
  bool first = false;
};

// Where the factors of a term are, in floats.
struct Term {
  int32_t row = 0, column = 0;
};

// Sums over listed terms: rows[term.row + r] * columns[term.column + j].
struct WeightTile {
  const float* rows = nullptr;
  float* acc = nullptr;  // [r][width]
  const float* columns = nullptr;
  int64_t width = 0;
  const Term* terms = nullptr;
  int64_t count = 0;
};

// Gradients of consecutive channels at some positions.
struct GradRows {
  const float* grad = nullptr;
  int64_t positions = 0;
  int64_t stride = 0;  // elements between positions
  int64_t count = 0;   // channels
  int64_t width = 0;   // floats written per position; those behind `count` become zero
};

// Codes of consecutive channels at some positions as floats.
struct CodeRows {
  ByteCodes codes;
  int64_t positions = 0;
  int64_t stride = 0;  // elements between positions
  int64_t count = 0;   // channels
  int64_t width = 0;   // floats written per position; those behind `count` become zero
};

struct Kernels {
  const char* name = nullptr;
  int64_t lanes = 0;
  int max_vectors = 0;
  int max_rows[kMaxVectors + 1] = {};                                      // by number of vectors
  void (*data_tile[kMaxVectors + 1][kMaxRows + 1])(const DataTile&) = {};  // [vectors][rows]
  void (*weight_tile[kMaxVectors + 1][kMaxRows + 1])(const WeightTile&) = {};
  void (*centre)(const CodeRows&, float* out) = nullptr;  // code - zero_point
  void (*copy)(const GradRows&, float* out) = nullptr;
  // out[j] = weight[j] * scale, and zeros from `count` to `width`.
  void (*scale_weights)(const int8_t* weight, int64_t count, int64_t width, float scale,
                        float* out) = nullptr;
  void (*scatter)(const ScatterTile&, float* out) = nullptr;
};

// Every table that this machine can run, best first.
std::vector<const Kernels*> available_kernels();

void conv_backward_data(const Kernels& kernels, const ConvShape& shape, const float* grad,
                        const int8_t* weight, const std::array<int64_t, 4>& weight_strides,
                        const float* weight_scale, float* d_input, const ParallelFor& parallel_for);
void conv_backward_weight(const Kernels& kernels, const ConvShape& shape, const float* grad,
                          const uint8_t* codes, int32_t zero_point, float input_scale,
                          float* d_weight, const std::array<int64_t, 4>& weight_strides,
                          const ParallelFor& parallel_for, bool codes_are_signed);

}  // namespace qat::kernels::f32

namespace qat::kernels::generic {
extern const f32::Kernels conv_backward_f32;
}
namespace qat::kernels::avx2 {
extern const f32::Kernels conv_backward_f32;
}
namespace qat::kernels::avx512 {
extern const f32::Kernels conv_backward_f32;
}
