#pragma once
// oneDNN's int8 convolution and matrix product, reached through torch's operators: the library's
// own symbols are not exported.

#include <ATen/core/Tensor.h>

#include <vector>

namespace qat::ops::onednn {

// Two-dimensional and not transposed.
struct ConvGeometry {
  std::vector<int64_t> stride, padding, dilation;
  int64_t groups = 1;
  bool operator==(const ConvGeometry&) const = default;
};

// Whether this machine and this torch give exact int32 sums. Found out once, by running sums that
// saturate where pairs of products are added in 16 bits (x86 without VNNI).
bool conv_is_exact();
bool linear_is_exact();

// A sum of this many products 255 * -128 still fits int32, so that the uncentred sums that oneDNN
// corrects by the zero point afterwards cannot wrap.
constexpr int64_t kLongestSum = 65000;

// codes: uint8 [N, C, H, W]; weight: int8 [K, C/groups, kh, kw]. Result float32, channels-last.
// owner: the tensor that lives as long as the weight's values are of use (weight may be its view).
at::Tensor conv(const at::Tensor& codes, int64_t zero_point, const at::Tensor& weight,
                const ConvGeometry& geometry, const at::Tensor& owner);
// codes: uint8 [M, C]; weight: int8 [K, C]. Result float32 [M, K].
at::Tensor linear(const at::Tensor& codes, int64_t zero_point, const at::Tensor& weight);

}  // namespace qat::ops::onednn
