#pragma once
// Geometry of an integer convolution: its rules and its output.

#include <vector>

#include "ops/check.h"

namespace qat::ops {

struct ConvArguments {
  const at::Tensor& codes;  // [N, C, spatial...] or [C, spatial...]
  int64_t zero_point;
  const at::Tensor& weight;  // [K, C/groups, kernel...], transposed: [C, K/groups, kernel...]
  at::IntArrayRef stride, padding, dilation, output_padding;
  int64_t groups;
  bool transposed;

  int64_t spatial() const { return weight.dim() - 2; }
  bool batched() const { return codes.dim() == weight.dim(); }
};

void check_conv_int(const ConvArguments& conv);
void check_linear_int(const at::Tensor& codes, int64_t zero_point, const at::Tensor& weight);
void check_sum_codes(const at::Tensor& codes, int64_t zero_point);

// [N, K, spatial...], or without N.
std::vector<c10::SymInt> conv_output_sizes(const ConvArguments& conv);
// An uninitialised float32 result; channels are innermost in memory.
at::Tensor empty_conv_output(const ConvArguments& conv);
at::Tensor empty_linear_output(const at::Tensor& codes, const at::Tensor& weight);
at::Tensor empty_code_sums(const at::Tensor& codes);

}  // namespace qat::ops
