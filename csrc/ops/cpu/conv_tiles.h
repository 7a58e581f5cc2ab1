#pragma once
// Integer convolutions and matrix products by the kernels of the int8 executor.

#include "ops/conv_arguments.h"

namespace qat::ops::tiles {

// Whether the kernels take the layer: 1 or 2 spatial axes, not transposed, and sums that int32
// holds whatever the codes are.
bool take(const ConvArguments& conv);
bool take(const at::Tensor& weight);

// out: float32, batched, channels innermost in memory. conv.codes: batched, not empty.
void conv(const ConvArguments& conv, at::Tensor& out);
// codes: [..., C]; weight: int8 [K, C]; out: float32 [..., K], contiguous.
void linear(const at::Tensor& codes, int64_t zero_point, const at::Tensor& weight, at::Tensor& out);

}  // namespace qat::ops::tiles
