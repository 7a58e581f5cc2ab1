#include <ATen/ops/convolution.h>
#include <torch/library.h>

#include "ops/conv_arguments.h"
#include "ops/cpu/codes.h"
#include "ops/cpu/onednn.h"

namespace qat::ops {
namespace {

bool onednn_takes(const ConvArguments& conv) {
  const int64_t terms = conv.weight.numel() / conv.weight.size(0);
  return !conv.transposed && conv.spatial() <= 2 && terms <= onednn::kLongestSum &&
         onednn::conv_is_exact();
}

// codes: batched, not empty.
at::Tensor conv_onednn(const at::Tensor& codes, const ConvArguments& conv) {
  onednn::ConvGeometry geometry{conv.stride.vec(), conv.padding.vec(), conv.dilation.vec(),
                                conv.groups};
  const int64_t zero_point = as_unsigned(codes, conv.zero_point);
  if (conv.spatial() == 2) {
    const auto input = as_unsigned(codes).contiguous(at::MemoryFormat::ChannelsLast);
    return onednn::conv(input, zero_point, conv.weight, geometry, conv.weight);
  }
  geometry.stride.insert(geometry.stride.begin(), 1);
  geometry.padding.insert(geometry.padding.begin(), 0);
  geometry.dilation.insert(geometry.dilation.begin(), 1);
  const auto input = as_unsigned(codes).unsqueeze(2).contiguous(at::MemoryFormat::ChannelsLast);
  return onednn::conv(input, zero_point, conv.weight.unsqueeze(2), geometry, conv.weight)
      .squeeze(2);
}

at::Tensor conv_float64(const at::Tensor& codes, const ConvArguments& conv) {
  return at::convolution(centred(codes, conv.zero_point), conv.weight.to(at::kDouble), {},
                         conv.stride, conv.padding, conv.dilation, conv.transposed,
                         conv.output_padding, conv.groups);
}

at::Tensor conv_int(const at::Tensor& codes, int64_t zero_point, const at::Tensor& weight,
                    at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation,
                    at::IntArrayRef output_padding, int64_t groups, bool transposed) {
  const ConvArguments conv{codes,    zero_point,     weight, stride,    padding,
                           dilation, output_padding, groups, transposed};
  check_conv_int(conv);
  auto out = empty_conv_output(conv);
  if (out.numel() == 0) return out;
  if (codes.numel() == 0 || weight.numel() == 0) return out.zero_();
  const auto batched = conv.batched() ? codes : codes.unsqueeze(0);
  auto acc = onednn_takes(conv) ? conv_onednn(batched, conv) : conv_float64(batched, conv);
  if (!conv.batched()) acc = acc.squeeze(0);
  if (acc.scalar_type() == at::kFloat && acc.strides() == out.strides()) return acc;
  return out.copy_(acc);
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CPU, m) { m.impl("conv_int", &conv_int); }

}  // namespace qat::ops
