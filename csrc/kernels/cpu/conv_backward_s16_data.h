#pragma once
// What the data gradients of general and of 1x1 kernels share.

#include "kernels/cpu/conv_backward_s16_kernels.h"

namespace qat::kernels::s16 {

constexpr int64_t kGroup = 96;  // positions that reuse a weight chunk while it is in the cache

// Input positions that the same taps reach: their gradients, and their offsets in d_input.
struct Group {
  std::array<const uint32_t*, kGroup> grad;
  std::array<int64_t, kGroup> d_input;
  int64_t count = 0;
};

// [tap][pair of output channels][input channel of a block].
struct BlockWeights {
  const uint32_t* words = nullptr;
  int64_t taps = 0, pairs = 0;
};

// d_input of one group for one block of input channels.
void run_block(const Kernels& kernels, const Group& group, const Block& block,
               const BlockWeights& weights, const std::vector<int64_t>& tap_offsets, float scale,
               float* d_input);

// The largest magnitude of gradient * factor, from the magnitude bits of the gradients.
float largest_product(const std::vector<int32_t>& absmax, const float* factor);

// A 1x1 kernel without padding. weights: [block][pair][channel].
bool is_pointwise(const ConvShape& shape);
void pointwise_backward_data(const Kernels& kernels, const ConvShape& shape, const float* grad,
                             const uint32_t* weights, const float* weight_scale, float* d_input,
                             const ParallelFor& parallel_for);

}  // namespace qat::kernels::s16
