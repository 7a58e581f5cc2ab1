#include <ATen/ops/convolution.h>
#include <torch/library.h>

#include "ops/chain.h"
#include "ops/cpu/codes.h"
#include "ops/cpu/conv_tiles.h"

namespace qat::ops {
namespace {

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
  auto out = empty_rows(conv_output_sizes(conv), conv.batched() ? 1 : 0,
                        codes.options().dtype(at::kFloat));
  if (out.numel() == 0) return out;
  if (codes.numel() == 0 || weight.numel() == 0) return out.zero_();
  const auto input = conv.batched() ? codes : codes.unsqueeze(0);
  auto rows = conv.batched() ? out : out.unsqueeze(0);
  const ConvArguments batched{input,    zero_point,     weight, stride,    padding,
                              dilation, output_padding, groups, transposed};
  if (tiles::take(batched)) {
    tiles::conv(batched, rows);
  } else {
    rows.copy_(conv_float64(input, batched));
  }
  return out;
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CPU, m) { m.impl("conv_int", &conv_int); }

}  // namespace qat::ops
