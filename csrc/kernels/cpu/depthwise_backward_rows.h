#pragma once
// What each instruction set defines for depthwise_backward.h.

#include "kernels/cpu/depthwise_backward.h"
#include "kernels/cpu/kernels.h"

namespace qat::kernels::depthwise {

constexpr int64_t kBlock = 32;    // channels whose rows are in the cache together
constexpr int64_t kRingRows = 8;  // rows kept of gradient and codes; a power of two above 5
constexpr int64_t kMaxTaps = 25;

// One block of channels of one image.
struct Image {
  const Shape* shape = nullptr;
  const float* grad = nullptr;
  const uint8_t* codes = nullptr;
  uint8_t flip = 0;
  int32_t zero_point = 0;
  int64_t count = 0;              // channels
  const float* weight = nullptr;  // [tap][kBlock]
  float* d_input = nullptr;
  float* sums = nullptr;        // [tap][kBlock], zero at first
  float* grad_ring = nullptr;   // [kRingRows + 1][grad_columns][kBlock], zero
  float* input_ring = nullptr;  // [kRingRows][input_columns][kBlock], zero
};

// Columns in front of a gradient row, and in all; the input's row begins `padding` columns early.
inline int64_t grad_border(const Shape& s) { return s.kernel[1]; }
inline int64_t grad_columns(const Shape& s) {
  const int64_t last = (s.in_size[1] - 1 + s.padding[1]) / s.stride[1];
  return grad_border(s) + (last < s.out_size[1] ? s.out_size[1] : last + 1);
}
inline int64_t input_columns(const Shape& s) {
  const int64_t used = (s.out_size[1] - 1) * s.stride[1] + s.kernel[1];
  const int64_t all = s.in_size[1] + s.padding[1];
  return used < all ? all : used;
}

// With the instruction set of one table.
void backward(const KernelTable& table, const Shape& shape, const Operands& operands,
              float* d_input, float* d_weight, const ParallelFor& parallel_for);

}  // namespace qat::kernels::depthwise
