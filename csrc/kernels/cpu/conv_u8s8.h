#pragma once
// Channels-last 2-d convolutions and linear layers on codes, by the tiles of gemm_u8s8.h.

#include "kernels/cpu/depthwise_quads.h"
#include "kernels/cpu/gemm_u8s8.h"

namespace qat::kernels::u8s8 {

// One layer with its weights packed for one instruction set.
struct ConvLayer {
  int64_t groups = 1, inputs = 1, outputs = 1;  // channels per group
  int64_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1;
  int64_t padding_h = 0, padding_w = 0, dilation_h = 1, dilation_w = 1;
  bool is_signed = false;  // codes are int8; computed as uint8 by flipping the top bit
  int32_t zero_point = 0;  // of the stored codes

  const Kernels* kernels = nullptr;
  // Note [Merged taps]
  // Where channels do not fill whole steps (the 3 of an image), the taps of a kernel row are taken
  // for one tap of kernel_w * inputs channels: they lie side by side in memory. A 7x7 kernel on 3
  // channels takes 42 steps instead of 49, and its input rows are copied as they are.
  bool merged = false;
  bool depthwise = false;                  // one input and one output channel per group
  PackedWeights weights;                   // not depthwise
  std::vector<int32_t> depthwise_weights;  // [taps][padded channels]
  PackedQuads quads;                       // where the instruction set has them
  std::vector<int32_t> compensation;       // where sums begin, per channel; padded

  int64_t channels_in() const { return groups * inputs; }
  int64_t channels_out() const { return groups * outputs; }
  int64_t taps() const { return kernel_h * kernel_w; }
};

// How the elements of a filter lie: [inputs][kernel_h][kernel_w] or [kernel_h][kernel_w][inputs].
enum class FilterOrder { channels_first, channels_last };

// Packs groups * outputs filters into a layer whose sizes are set.
void pack_layer(ConvLayer& layer, const int8_t* weight, InstructionSet set,
                FilterOrder order = FilterOrder::channels_first, int threads = 1);

struct ImageSizes {
  int64_t batch = 0, input_h = 0, input_w = 0, output_h = 0, output_w = 0;
};

// How a layer is cut into tasks: bands of the rows of each image, times parts of the channels.
// Tasks may run in any order and at once.
struct ConvTasks {
  ImageSizes sizes;   // of the same elements
  int64_t bands = 1;  // of an image
  int64_t parts = 1;  // of the channel blocks
  int64_t count = 0;
  size_t memory = 0;  // bytes that a thread needs

  int64_t first_row(int64_t band) const { return sizes.output_h * band / bands; }
};

// For so many threads, or for fewer where the layer is too small for all of them.
ConvTasks split_conv(const ConvLayer& layer, const ImageSizes& sizes, int threads);

// codes: [batch][input_h][input_w][channels_in]; the epilogue's output and operands are
// [batch][output_h][output_w][channels_out]. memory: tasks.memory bytes of the calling thread's, on
// a boundary of 64 bytes.
void run_conv_task(const ConvLayer& layer, const ConvTasks& tasks, int64_t task,
                   const uint8_t* codes, const Epilogue& epilogue, std::byte* memory);

// All tasks, by OpenMP, in memory of the threads' own. Returns the multiply-accumulates of the
// layer.
int64_t run_conv(const ConvLayer& layer, const ImageSizes& sizes, const uint8_t* codes,
                 const Epilogue& epilogue, int threads);

// Multiply-accumulates of the layer, padding counted.
int64_t conv_macs(const ConvLayer& layer, const ImageSizes& sizes);
// In those of a layer of tiles that take as long.
int64_t conv_work(const ConvLayer& layer, const ImageSizes& sizes);

}  // namespace qat::kernels::u8s8
