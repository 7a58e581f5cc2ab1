#pragma once
// Maps the operators with one parameter per tensor or per channel onto the tile kernels.

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "kernels/cpu/kernels.h"
#include "kernels/cpu/tile.h"

namespace qat::ops {

constexpr int64_t kGrain = 32768;  // elements per task: 3 to 10 microseconds of work

// The same where an element takes no longer than a copy of it: 12 microseconds. A second thread
// that sleeps meanwhile costs as many.
constexpr int64_t kCopyGrain = 131072;

// Elements where work on one tensor may be cut: no register of codes, byte of a mask or aligned
// vector of results is.
constexpr int64_t kUniformStep = 64;

// Memory order of a dense tensor: `outer` x `channels` x `inner`, channels in between.
struct MemoryLayout {
  int64_t outer = 1, channels = 1, inner = 1;
};
MemoryLayout memory_layout(const at::Tensor& dense, int64_t axis);

// x in float32 with exactly the strides of `like`, which is dense and of the same shape.
at::Tensor float_like(const at::Tensor& x, const at::Tensor& like);

// Owns the arrays of a kernels::Quantizer.
struct QuantizerArrays {
  std::vector<float> scale, inverse_scale;
  std::vector<int32_t> zero_point;
};

// From here on a result leaves the second-level cache before it is read again.
constexpr int64_t kStreamedElements = int64_t{1} << 19;

// True where results at `to`, and at each multiple of `step` elements behind it, may be written
// past the caches, and should be.
bool should_stream(int64_t elements, int64_t step, const float* to);

// A float32 result, and the bytes that the operator reads and writes for each of its elements.
// Where together they outgrow the caches it is streamed.
struct Streamed {
  const float* to = nullptr;  // or none
  int64_t bytes = 0;
};
bool should_stream(int64_t elements, int64_t step, const Streamed& result);

// Calls run(quantizer, first element, count) so that together the calls cover every element of a
// tensor that lies in memory as `layout` says; concurrently, but the elements of a byte of a mask
// (kernels::MaskBits) in turn. scale, zero_point: 1 or `channels`.
void for_each_element_range(
    const MemoryLayout& layout, const at::Tensor& scale, const at::Tensor& zero_point,
    int64_t quant_min, int64_t quant_max, const Streamed& result,
    const std::function<void(const kernels::Quantizer&, int64_t begin, int64_t count)>& run);

// Rules 2 and 3 over x, whose arguments were checked. zero_point: int32.
at::Tensor fake_quantized(const at::Tensor& x, const at::Tensor& scale,
                          const at::Tensor& zero_point, int64_t axis, int64_t quant_min,
                          int64_t quant_max);

// One vector of scales per channel and what follows from it.
QuantizerArrays read_parameters(const at::Tensor& scale, const at::Tensor& zero_point);
// Each parameter repeated to fill the tile.
QuantizerArrays repeat_parameters(const QuantizerArrays& parameters, const kernels::Tile& tile);

}  // namespace qat::ops
