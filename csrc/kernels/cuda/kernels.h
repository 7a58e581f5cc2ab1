#pragma once
// CUDA loops over raw contiguous device memory. Everything is enqueued on the given stream: nothing
// waits for the device, allocates, or copies to the host, so that a CUDA graph can capture it.
// Workspaces come from the caller. Launch failures throw qat::Error.

#include <driver_types.h>

#include "kernels/cpu/kernels.h"
#include "numerics/qparams.h"

namespace qat::kernels::cuda {

// A parameter with one value for all channels, one per channel, or (values null) a constant.
template <typename T>
struct PerChannel {
  const T* values = nullptr;
  bool uniform = true;
  T otherwise{};
};

// Parameters of rules 2 to 4; both uniform or neither.
struct ChannelQuantizer {
  PerChannel<float> scale;
  PerChannel<int32_t> zero_point;
  float quant_min = 0.0f;
  float quant_max = 0.0f;
};

// Memory order of the elements: channel of element i is (i / inner) % channels.
struct Elements {
  int64_t count = 0, channels = 1, inner = 1;
};

void fake_quantize(const ChannelQuantizer&, const Elements&, const float* x, float* out,
                   cudaStream_t);
void fake_quantize_backward(const ChannelQuantizer&, const Elements&, const float* grad,
                            const float* x, float* out, cudaStream_t);
void quantize(const ChannelQuantizer&, const Elements&, const float* x, uint8_t* codes,
              cudaStream_t);
void dequantize(const ChannelQuantizer&, const Elements&, const uint8_t* codes, bool is_signed,
                float* x, cudaStream_t);
// The mask: kernels::MaskBits. keys: mask_parts(elements.count) entries, merged into range[2].
void fake_quantize_with_mask(const ChannelQuantizer&, const Elements&, const float* x, float* out,
                             uint8_t* mask, cudaStream_t);
struct MaskedCodes {
  uint8_t *codes, *mask;
  RangeKeys* keys;
  float* range;
};
int64_t mask_parts(int64_t count);
void quantize_with_mask(const ChannelQuantizer&, const Elements&, const float* x,
                        const MaskedCodes&, cudaStream_t);
void straight_through(const float* grad, const uint8_t* mask, float* out, int64_t n, cudaStream_t);

// Where the range is refused (a negative value and unsigned symmetric codes) the scale is NaN:
// raising an error would wait for the device.
struct RangeFormat {
  numerics::IntFormat format;
  numerics::Symmetry symmetry;
  bool power_of_two;
};
void choose_qparams(const RangeFormat&, const float* lo, const float* hi, int64_t n, float* scale,
                    int32_t* zero_point, cudaStream_t);

// A contiguous weight as [groups, stretches, columns, inner]: one scale per (group, column).
struct WeightLayout {
  int64_t groups, stretches, columns, inner;
  constexpr int64_t channels() const { return groups * columns; }
  constexpr int64_t per_channel() const { return stretches * inner; }
};
// Each channel is cut into this many parts; the workspace holds one magnitude per part.
constexpr int64_t weight_parts(const WeightLayout& w) {
  const int64_t parts = w.per_channel() / 4096;
  return parts < 1 ? 1 : parts > 1024 ? 1024 : parts;
}
struct WeightJob {
  WeightLayout layout;
  numerics::IntFormat format;
  bool power_of_two;
  const float* weight;
  int32_t* magnitudes;  // workspace
  float* scales;
  int8_t* codes;
};
// Three launches for every 32 weights.
void quantize_weights(const WeightJob* jobs, int64_t count, cudaStream_t);

// table: `entries` values of 4 (float) or 1 byte.
struct LookupTable {
  const void* values;
  int64_t entries, quant_min;
  bool is_signed, is_float;
};
void lookup(const LookupTable&, const uint8_t* codes, int64_t n, void* out, cudaStream_t);

struct BatchNormChannels {
  PerChannel<float> multiplier, bias, gamma, beta, mean, variance;
  float eps;
};
void fold_batch_norm(const BatchNormChannels&, int64_t channels, float* multiplier, float* bias,
                     cudaStream_t);

// act(acc * multiplier + bias + residual) on rows of `channels`, quantized or not.
struct ChannelChain {
  const float* acc = nullptr;
  int64_t count = 0, channels = 1;
  const void* residual = nullptr;
  ResidualType residual_type = ResidualType::none;
  PerChannel<float> residual_scale;
  PerChannel<int32_t> residual_zero_point;
  PerChannel<float> multiplier, bias;
  PerChannel<float> p0;
  float p1 = 0.0f;
  numerics::ActivationKind activation = numerics::ActivationKind::none;
  ChannelQuantizer quantizer;
  bool quantized = false;
};
void bn_act(const ChannelChain&, float* out, cudaStream_t);
// out: float16. Clears `fits` where a value lies outside of float16's range or is not a number.
void affine_half(const ChannelChain&, void* out, bool* fits, cudaStream_t);
// keys null: not observed; else one entry for each of range_parts(chain), merged into range[2].
int64_t range_parts(const ChannelChain&);
void bn_act_quantize(const ChannelChain&, uint8_t* codes, RangeKeys* keys, float* range,
                     cudaStream_t);

// The fixed blocks of a reduction over rows: Note [Fixed summation order] in kernels/cpu/tile.h.
struct ColumnBlocks {
  int64_t channels = 1;
  int64_t width = 1;  // columns of a tile, a multiple of channels
  int64_t count = 0;
  int64_t elements = 0;  // of each block but the last
  int64_t total = 0;
  constexpr int64_t columns() const { return count * width; }
};
// Workspaces of a reduction to `sums` numbers per channel.
struct SumWorkspace {
  double* columns;   // [blocks, sums, width]
  double* partials;  // [blocks, sums, channels]
};
void batch_statistics(const ChannelChain&, const ColumnBlocks&, const SumWorkspace&, float* mean,
                      float* variance, cudaStream_t);

// Sums per tensor or per channel over `stretches`, each of of_stretch.total elements. Either
// channels lie innermost in the only stretch, or stretches belong to `channels` in turn.
struct LearnedBlocks {
  ColumnBlocks of_stretch;
  int64_t stretches = 1, channels = 1;
  // The blocks of all stretches, as far as their number and their columns go.
  constexpr ColumnBlocks all() const {
    return {of_stretch.channels, of_stretch.width, stretches * of_stretch.count, 0, 0};
  }
};
// scale, zero_point: `count` entries.
struct LearnedGradients {
  float *x, *scale, *zero_point;
  int64_t count;
  double grad_scale;
  bool clipped_only;  // numerics::learned_terms
};
void learned_zero_codes(const float* zero_point, int64_t n, float quant_min, float quant_max,
                        int32_t* codes, cudaStream_t);
void fake_quantize_learned_backward(const ChannelQuantizer&, const LearnedBlocks&,
                                    const float* grad, const float* x, const SumWorkspace&,
                                    const LearnedGradients&, cudaStream_t);

// The quantities of the backward pass (schema of bn_act_quantize_backward).
struct BackwardChain {
  ChannelChain chain;
  const float* grad = nullptr;
  PerChannel<float> xhat_multiplier, xhat_bias, gain;
  PerChannel<float> mean_dy, mean_dy_xhat;
};
// Results per channel. mean_dy, mean_dy_xhat: the sums divided by the number of rows.
struct BackwardSums {
  float* dy;
  float* dy_xhat;
  float* dy_slope;  // null: not wanted
  float* mean_dy;
  float* mean_dy_xhat;
  // As many entries as the quantizer has scales; null: not learned.
  float* scale;
  float* zero_point;
  bool clipped_only;  // numerics::learned_terms
  // Sums that are formed for each channel.
  constexpr int count() const {
    return 2 + (dy_slope == nullptr ? 0 : 1) + (scale == nullptr ? 0 : 2);
  }
};
void chain_backward_sums(const BackwardChain&, const ColumnBlocks&, const SumWorkspace&,
                         const BackwardSums&, cudaStream_t);
// d_residual null: not wanted.
void chain_backward_apply(const BackwardChain&, float* d_value, float* d_residual, cudaStream_t);

// keys: [blocks, width] followed by [channels]. Moves min, max and count as observe_minmax_ says.
void observe_minmax(const float* rows, const ColumnBlocks&, float momentum, RangeKeys* keys,
                    float* min, float* max, int64_t* count, cudaStream_t);

// The state of observe_histogram_, all on the device.
struct HistogramState {
  int64_t *counts, *exponent;
  float* extremes;
  int64_t* tally;
};
// parts: the workspace, histogram_parts(n) entries.
int64_t histogram_parts(int64_t n);
void observe_histogram(const float* x, int64_t n, RangeKeys* parts, const HistogramState&,
                       cudaStream_t);

// codes: [rows, depth]; weight: [filters, depth]; out: [rows, filters].
struct CodeMatrix {
  const uint8_t* codes;
  bool is_signed;
  int32_t zero_point;
};
// codes: [images, positions, channels]; sums: [images, channels].
struct CodeRows {
  int64_t images, positions, channels;
};
void sum_codes(const CodeMatrix&, const CodeRows&, int64_t* sums, cudaStream_t);
void linear_int(const CodeMatrix&, const int8_t* weight, int64_t rows, int64_t filters,
                int64_t depth, float* out, cudaStream_t);

// codes: [batch, in..., channels]; weight: [filters, kernel..., channels / groups], also where
// transposed; out: [batch, out..., filters]. Absent spatial axes have the size 1 and stand in
// front.
struct ConvShape {
  int64_t batch = 0, channels = 0, filters = 0, groups = 1;
  int64_t in[3] = {1, 1, 1}, out[3] = {1, 1, 1}, kernel[3] = {1, 1, 1}, stride[3] = {1, 1, 1};
  int64_t padding[3] = {0, 0, 0}, dilation[3] = {1, 1, 1};
  bool transposed = false;
};
void conv_int(const CodeMatrix&, const int8_t* weight, const ConvShape&, float* out, cudaStream_t);

}  // namespace qat::kernels::cuda
