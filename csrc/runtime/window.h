#pragma once
// Output sizes and windows of convolutions and pools, along one axis, by torch's rules.

#include <algorithm>
#include <cstdint>

namespace qat::runtime {

struct Axis {
  int64_t input = 1, output = 1, kernel = 1, stride = 1, padding = 0, dilation = 1;
};

inline int64_t conv_output(int64_t input, int64_t kernel, int64_t stride, int64_t padding,
                           int64_t dilation) {
  return (input + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
}

inline int64_t transposed_output(int64_t input, int64_t kernel, int64_t stride, int64_t padding,
                                 int64_t dilation, int64_t output_padding) {
  return (input - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1;
}

// A window that would start in the right-hand padding is dropped in ceil mode.
inline int64_t pool_output(int64_t input, int64_t kernel, int64_t stride, int64_t padding,
                           int64_t dilation, bool ceil_mode) {
  const int64_t room =
      input + 2 * padding - dilation * (kernel - 1) - 1 + (ceil_mode ? stride - 1 : 0);
  if (room < 0) return 0;
  const int64_t output = room / stride + 1;
  return ceil_mode && (output - 1) * stride >= input + padding ? output - 1 : output;
}

// Input positions begin, begin + step, ... below end.
struct Window {
  int64_t begin, end, step;
  int64_t padded_size = 0;  // how many positions count when padding is included in an average
  int64_t size() const { return std::max<int64_t>(0, (end - begin + step - 1) / step); }
};

inline Window max_window(const Axis& axis, int64_t output) {
  int64_t begin = output * axis.stride - axis.padding;
  const int64_t end = std::min(begin + (axis.kernel - 1) * axis.dilation + 1, axis.input);
  if (begin < 0) begin += (-begin + axis.dilation - 1) / axis.dilation * axis.dilation;
  return {begin, end, axis.dilation};
}

inline Window average_window(const Axis& axis, int64_t output) {
  const int64_t begin = output * axis.stride - axis.padding;
  const int64_t end = std::min(begin + axis.kernel, axis.input + axis.padding);
  return {std::max<int64_t>(begin, 0), std::min(end, axis.input), 1, end - begin};
}

inline Window adaptive_window(const Axis& axis, int64_t output) {
  const int64_t begin = output * axis.input / axis.output;
  const int64_t end = ((output + 1) * axis.input + axis.output - 1) / axis.output;
  return {begin, end, 1, end - begin};
}

}  // namespace qat::runtime
