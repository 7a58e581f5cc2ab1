#pragma once
// Loops over raw contiguous memory, compiled once per instruction set and chosen at run time.
//
// No threads in here: a caller splits the elements into ranges and calls a kernel on each.
//
// Note [Tiles]
// A tensor is rows of C channels, channels innermost. Per-channel parameters are repeated until
// they fill a tile of `width` elements, a multiple of C, so that one long loop with unit stride
// serves every C (16 channels alone would leave most of a 512-bit pipeline idle). Element i has the
// parameters at i % width; ranges therefore begin at multiples of width.

#include <cstdint>

#include "numerics/activation.h"

namespace qat::kernels {

namespace depthwise {
struct Image;
}
namespace f32 {
struct Kernels;
}

// Parameters of rules 2 to 4. Arrays hold `width` entries; width 1: the same for all elements.
struct Quantizer {
  const float* scale = nullptr;
  const float* inverse_scale = nullptr;
  const int32_t* zero_point = nullptr;
  float quant_min = 0.0f;
  float quant_max = 0.0f;
  int64_t width = 1;
  // Write float32 results past the caches; they are aligned to 64 bytes and the width is 1 or a
  // multiple of 16.
  bool streams = false;
};

// Where a kernel writes rule 4, one bit per element: that of a tensor's element k is bit k % 8 of
// byte k / 8. Concurrent calls share no byte.
struct MaskBits {
  uint8_t* bytes = nullptr;
  int64_t first = 0;  // the element that the kernel begins with
};

enum class ResidualType : int32_t { none, float32, uint8, int8 };

// act(acc * multiplier + bias + residual), quantized or not. Per-channel arrays hold `width`
// entries.
struct Chain {
  const float* acc = nullptr;
  const void* residual = nullptr;
  ResidualType residual_type = ResidualType::none;
  const float* residual_scale = nullptr;
  const int32_t* residual_zero_point = nullptr;
  const float* multiplier = nullptr;
  const float* bias = nullptr;
  const float* p0 = nullptr;  // the activation's first parameter: one slope per channel for PReLU
  float p1 = 0.0f;
  numerics::ActivationKind activation = numerics::ActivationKind::none;
  Quantizer quantizer;  // width 1 is not allowed here
  bool quantized = false;
  int64_t width = 0;
};

// The quantities of the backward pass (schema of bn_act_quantize_backward). Without statistics xhat
// and the means are zeros, without a gain it is ones.
struct ChainBackward {
  Chain chain;
  const uint16_t* half_acc = nullptr;  // not null: the accumulators, in float16
  const float* grad = nullptr;
  const float* xhat_multiplier = nullptr;
  const float* xhat_bias = nullptr;
  // numerics::pass_range() of the quantizer; null where the chain has none.
  const float* pass_lo = nullptr;
  const float* pass_hi = nullptr;
  const float* gain = nullptr;
  const float* mean_dy = nullptr;
  const float* mean_dy_xhat = nullptr;
  // Write the results past the caches; they are aligned to 64 bytes and the width is a multiple
  // of 16.
  bool streams = false;
};

// `width` entries each, added to what is there; zero_point is in units of -scale.
struct LearnedSums {
  double* scale = nullptr;
  double* zero_point = nullptr;
  bool clipped_only = false;  // numerics::learned_terms
};

// Sums of one block of rows, `width` entries each, added to what is there.
struct ChainSums {
  double* dy = nullptr;
  double* dy_xhat = nullptr;
  double* dy_slope = nullptr;  // null: not wanted
  LearnedSums learned = {};    // null: not wanted; else the chain is quantized
};

// Order-preserving integer images of finite floats: exact, and independent of the order of visits.
struct RangeKeys {
  int32_t minimum = INT32_MAX;
  int32_t maximum = INT32_MIN;
};

struct KernelTable {
  const char* name;

  void (*quantize)(const Quantizer&, const float* x, uint8_t* codes, int64_t n);
  void (*dequantize)(const Quantizer&, const uint8_t* codes, bool is_signed, float* x, int64_t n);
  void (*fake_quantize)(const Quantizer&, const float* x, float* out, int64_t n);
  void (*fake_quantize_backward)(const Quantizer&, const float* grad, const float* x, float* out,
                                 int64_t n);
  // The same with rule 4 as bits. quantize_with_mask() returns the range of the finite x.
  void (*fake_quantize_with_mask)(const Quantizer&, const float* x, float* out, int64_t n,
                                  const MaskBits&);
  RangeKeys (*quantize_with_mask)(const Quantizer&, const float* x, uint8_t* codes, int64_t n,
                                  const MaskBits&);
  // Element k of the gradient where its bit is set, else 0.
  void (*straight_through)(const float* grad, const uint8_t* mask, float* out, int64_t n,
                           bool streams);
  // Gradients of a learned quantizer (rule 13): writes that of x and adds those of scale and zero
  // point to `sums`. The parameters fill a tile even where they are uniform.
  void (*fake_quantize_learned_backward)(const Quantizer&, const float* grad, const float* x,
                                         float* out, int64_t n, const LearnedSums& sums);
  // Finite elements only; merges into `keys`.
  void (*range)(const float* x, int64_t n, RangeKeys* keys);
  // The same per channel, `width` entries of each.
  void (*range_per_channel)(const float* x, int64_t n, int64_t width, int32_t* minimum,
                            int32_t* maximum);
  // Largest magnitude; NaN is skipped.
  float (*absmax)(const float* x, int64_t n);

  // Elements begin..end of a chain. keys null: not observed.
  void (*chain_quantize)(const Chain&, int64_t begin, int64_t end, uint8_t* codes, RangeKeys* keys);
  void (*chain_float)(const Chain&, int64_t begin, int64_t end, float* out);
  // float16 of acc * multiplier + bias; false where one of them lies outside of float16's range or
  // is not a number.
  bool (*chain_half)(const Chain&, int64_t begin, int64_t end, uint16_t* out);
  // Adds v - shift and its square, v = acc * multiplier + bias.
  void (*chain_statistics)(const Chain&, const float* shift, int64_t begin, int64_t end,
                           double* sum, double* sum_of_squares);
  void (*chain_backward_sums)(const ChainBackward&, int64_t begin, int64_t end, const ChainSums&);
  // d_residual null: not wanted.
  void (*chain_backward_apply)(const ChainBackward&, int64_t begin, int64_t end, float* d_value,
                               float* d_residual);
  const f32::Kernels* conv_backward_f32;             // conv_backward_f32_kernels.h
  void (*depthwise_image)(const depthwise::Image&);  // depthwise_backward_rows.h
};

// The table of the best instruction set of this machine, or the one that the environment variable
// QAT_CPU_CAPABILITY names (generic, avx2, avx512 or, on ARM, neon). Throws qat::Error where it is
// unknown or absent.
const KernelTable& kernels();

}  // namespace qat::kernels
