#include "ops/conv_arguments.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <vector>

namespace qat::ops {
namespace {

constexpr const char* kConv = "conv_int";

void check_zero_point(const char* op, const at::Tensor& codes, int64_t zero_point) {
  const bool is_signed = codes.scalar_type() == at::kChar;
  const int64_t low = is_signed ? -128 : 0, high = is_signed ? 127 : 255;
  TORCH_CHECK_VALUE(zero_point >= low && zero_point <= high, op, ": zero_point: expected a ",
                    codes.scalar_type(), " code, ", low, "..", high, ", got ", zero_point, ".");
}

void check_list(const char* argument, at::IntArrayRef list, int64_t spatial, int64_t least) {
  TORCH_CHECK_VALUE(static_cast<int64_t>(list.size()) == spatial, kConv, ": ", argument,
                    ": expected ", spatial, " numbers (one per spatial axis), got ", list.size(),
                    ".");
  for (const int64_t number : list) {
    TORCH_CHECK_VALUE(number >= least, kConv, ": ", argument, ": expected numbers of at least ",
                      least, ", got ", number, ".");
  }
}

c10::SymInt output_size(const ConvArguments& conv, int64_t i) {
  const auto offset = conv.batched() ? 2 : 1;
  const c10::SymInt size = conv.codes.sym_size(offset + i);
  const c10::SymInt reach = (conv.weight.sym_size(2 + i) - 1) * conv.dilation[i];
  const int64_t padded = 2 * conv.padding[i];
  if (conv.transposed) {
    return (size - 1) * conv.stride[i] - padded + reach + conv.output_padding[i] + 1;
  }
  // Division truncates; the numerator is checked not to be negative.
  const c10::SymInt room = size + padded - reach - 1;
  TORCH_CHECK_VALUE(room >= 0, kConv,
                    ": weight: expected a kernel that fits the padded input, got ",
                    conv.weight.sym_sizes(), " on ", conv.codes.sym_sizes(), ".");
  return room / conv.stride[i] + 1;
}

}  // namespace

void check_conv_int(const ConvArguments& conv) {
  check_codes(kConv, "codes", conv.codes);
  check_dtype(kConv, "weight", conv.weight, at::kChar);
  check_device(kConv, "weight", conv.weight, conv.codes);
  check_zero_point(kConv, conv.codes, conv.zero_point);
  const int64_t spatial = conv.spatial();
  TORCH_CHECK_VALUE(spatial >= 1 && spatial <= 3, kConv,
                    ": weight: expected 1 to 3 spatial axes, got the shape ",
                    conv.weight.sym_sizes(), ".");
  TORCH_CHECK_VALUE(conv.batched() || conv.codes.dim() == spatial + 1, kConv,
                    ": codes: expected a tensor of rank ", spatial + 2, " or ", spatial + 1,
                    ", got the shape ", conv.codes.sym_sizes(), ".");
  check_list("stride", conv.stride, spatial, 1);
  check_list("padding", conv.padding, spatial, 0);
  check_list("dilation", conv.dilation, spatial, 1);
  check_list("output_padding", conv.output_padding, spatial, 0);
  const c10::SymInt channels = conv.codes.sym_size(conv.batched() ? 1 : 0);
  const c10::SymInt rows = conv.weight.sym_size(0);
  TORCH_CHECK_VALUE(conv.groups >= 1 && channels % conv.groups == 0 && rows % conv.groups == 0,
                    kConv, ": groups: expected a divisor of the channels (", channels,
                    ") and of the weight's first axis (", rows, "), got ", conv.groups, ".");
  const c10::SymInt wanted = conv.transposed ? rows : conv.weight.sym_size(1) * conv.groups;
  TORCH_CHECK_VALUE(channels == wanted, kConv, ": codes: expected ", wanted,
                    " channels, as the weight has, got ", channels, ".");
}

void check_linear_int(const at::Tensor& codes, int64_t zero_point, const at::Tensor& weight) {
  constexpr const char* kOp = "linear_int";
  check_codes(kOp, "codes", codes);
  check_dtype(kOp, "weight", weight, at::kChar);
  check_device(kOp, "weight", weight, codes);
  check_zero_point(kOp, codes, zero_point);
  TORCH_CHECK_VALUE(weight.dim() == 2, kOp, ": weight: expected the shape [K, C], got ",
                    weight.sym_sizes(), ".");
  TORCH_CHECK_VALUE(codes.dim() >= 1 && codes.sym_size(-1) == weight.sym_size(1), kOp,
                    ": codes: expected a last axis of ", weight.sym_size(1),
                    ", as the weight has, got the shape ", codes.sym_sizes(), ".");
}

void check_sum_codes(const at::Tensor& codes, int64_t zero_point) {
  constexpr const char* kOp = "sum_codes";
  check_codes(kOp, "codes", codes);
  check_zero_point(kOp, codes, zero_point);
  TORCH_CHECK_VALUE(codes.dim() >= 2, kOp, ": codes: expected the shape [N, C, positions...], got ",
                    codes.sym_sizes(), ".");
}

at::Tensor empty_code_sums(const at::Tensor& codes) {
  return at::empty_symint({codes.sym_size(0), codes.sym_size(1)}, codes.options().dtype(at::kLong));
}

std::vector<c10::SymInt> conv_output_sizes(const ConvArguments& conv) {
  std::vector<c10::SymInt> sizes;
  if (conv.batched()) sizes.push_back(conv.codes.sym_size(0));
  sizes.push_back(conv.transposed ? conv.weight.sym_size(1) * conv.groups
                                  : conv.weight.sym_size(0));
  for (int64_t i = 0; i < conv.spatial(); ++i) sizes.push_back(output_size(conv, i));
  return sizes;
}

at::Tensor empty_conv_output(const ConvArguments& conv) {
  auto sizes = conv_output_sizes(conv);
  const auto channels = sizes.begin() + (conv.batched() ? 1 : 0);
  std::rotate(channels, channels + 1, sizes.end());  // channels last
  const auto options = conv.codes.options().dtype(at::kFloat);
  return at::empty_symint(sizes, options).movedim(-1, conv.batched() ? 1 : 0);
}

at::Tensor empty_linear_output(const at::Tensor& codes, const at::Tensor& weight) {
  auto sizes = codes.sym_sizes().vec();
  sizes.back() = weight.sym_size(0);
  return at::empty_symint(sizes, codes.options().dtype(at::kFloat));
}

}  // namespace qat::ops
