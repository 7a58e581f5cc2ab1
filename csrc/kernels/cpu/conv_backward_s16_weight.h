#pragma once
// How the weight gradient splits its sums.
//
// Note [Paired images]
// A pair of products needs two positions of one sum in neighbouring int16. Those are the same
// output position of two images, so that every tap reads aligned words; an odd batch pairs the
// upper half of each image with its lower half.

#include "kernels/cpu/conv_backward_s16_kernels.h"
#include "kernels/cpu/conv_backward_weight.h"

namespace qat::kernels::s16 {

struct WeightPlan : WeightLayout {
  bool halves = false;                              // pairs are the halves of an image
  int64_t pairs = 0;                                // of images or halves
  int64_t out_rows = 0;                             // of each
  std::array<int64_t, 2> packed{};                  // elements of the input's axes under them
  int64_t grad_positions = 0, input_positions = 0;  // of all pairs
  std::vector<Run> runs;
  std::vector<size_t> chunks;  // first run of each flush, and the number of runs

  explicit WeightPlan(const ConvShape& s);

  int64_t flushes() const { return static_cast<int64_t>(chunks.size()) - 1; }
  // Offset of a tap in the packed input, in positions.
  int64_t tap_offset(int64_t step) const {
    const int64_t tap = step * merged;
    return tap / shape.kernel[1] * h.dilation * packed[1] + tap % shape.kernel[1] * w.dilation;
  }
  // Image and first output row of one half of a pair.
  std::array<int64_t, 2> member(int64_t pair, int64_t which) const {
    if (halves) return {pair, which * out_rows};
    return {2 * pair + which, 0};
  }

 private:
  void make_runs();
};

// Rounds the gradient, [block][pair][output row][output column][channel], with one scale per flush
// and channel: scales is [flush][total_width(plan.grad)].
void pack_grad(const Kernels& kernels, const WeightPlan& plan, const float* grad, uint32_t* out,
               float* scales, const ParallelFor& parallel_for);

// [block][pair][packed row][packed column][channel], centred; what lies outside the image is zero.
void pack_codes(const Kernels& kernels, const WeightPlan& plan, const ByteCodes& codes,
                uint32_t* out, const ParallelFor& parallel_for);

}  // namespace qat::kernels::s16
