#include <torch/library.h>

#include "kernels/cuda/kernels.h"
#include "ops/chain.h"
#include "ops/conv_arguments.h"
#include "ops/cuda/device.h"

namespace qat::ops::cuda {
namespace {

using kernels::cuda::ConvShape;

// [filters, kernel..., channels / groups], contiguous.
at::Tensor filters_of(const ConvArguments& conv) {
  if (!conv.transposed) return to_rows(conv.weight, 1);
  const auto grouped = conv.weight.unflatten(0, {conv.groups, -1});  // [g, C/g, K/g, kernel...]
  return grouped.movedim(1, -1).flatten(0, 1).contiguous();
}

ConvShape shape_of(const ConvArguments& conv, const at::Tensor& codes, const at::Tensor& out) {
  ConvShape shape{.batch = codes.size(0),
                  .channels = codes.size(1),
                  .filters = out.size(1),
                  .groups = conv.groups,
                  .transposed = conv.transposed};
  const int64_t absent = 3 - conv.spatial();
  for (int64_t i = 0; i < conv.spatial(); ++i) {
    shape.in[absent + i] = codes.size(2 + i);
    shape.out[absent + i] = out.size(2 + i);
    shape.kernel[absent + i] = conv.weight.size(2 + i);
    shape.stride[absent + i] = conv.stride[static_cast<size_t>(i)];
    shape.padding[absent + i] = conv.padding[static_cast<size_t>(i)];
    shape.dilation[absent + i] = conv.dilation[static_cast<size_t>(i)];
  }
  return shape;
}

at::Tensor conv_int(const at::Tensor& codes, int64_t zero_point, const at::Tensor& weight,
                    at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation,
                    at::IntArrayRef output_padding, int64_t groups, bool transposed) {
  const ConvArguments conv{codes,    zero_point,     weight, stride,    padding,
                           dilation, output_padding, groups, transposed};
  check_conv_int(conv);
  const OnDeviceOf device(codes);
  auto out = empty_conv_output(conv);
  if (out.numel() == 0) return out;
  if (codes.numel() == 0 || weight.numel() == 0) return out.zero_();
  const auto batched = conv.batched() ? codes : codes.unsqueeze(0);
  const auto rows = to_rows(batched, 1), filters = filters_of(conv);
  const auto shape = shape_of(conv, batched, conv.batched() ? out : out.unsqueeze(0));
  kernels::cuda::conv_int({static_cast<const uint8_t*>(rows.const_data_ptr()),
                           codes.scalar_type() == at::kChar, static_cast<int32_t>(zero_point)},
                          filters.const_data_ptr<int8_t>(), shape, out.mutable_data_ptr<float>(),
                          device.stream());
  return out;
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CUDA, m) { m.impl("conv_int", &conv_int); }

}  // namespace qat::ops::cuda
