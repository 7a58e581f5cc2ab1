// Note [Float products]
// Centred codes and weight codes are integers, and so is every partial sum of their products. As
// long as none of them reaches 2^24 float32 holds them all, and a float convolution gives the
// accumulator in any order of summation. The bound of a channel is max|q_x - zp| * sum|q_w|. Where
// it is too large the input channels are cut into slices whose bounds are not, and the slices'
// sums are added in float64. That needs algorithms that do nothing but multiply and add: oneDNN's
// direct convolution and matrix products are such, Winograd's transform is not, so that other
// back-ends get float64 operands, which have no Winograd.

#include "insert/float_layers.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/linear.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

namespace qat::insert {
namespace {

constexpr int64_t kExactIntegers = int64_t{1} << 24;

// max|q_x - zp| over the format, not over the data: no pass, and no dependence on the batch.
int64_t largest_code(const Codes& input) {
  const int64_t zero_point = input.params.zero_point;
  return std::max(std::abs(input.format.quant_min() - zero_point),
                  std::abs(input.format.quant_max() - zero_point));
}

bool multiplies_directly(const at::Tensor& codes) {
  const auto& context = at::globalContext();
  return codes.is_cpu() && context.hasMKLDNN() && context.userEnabledMkldnn();
}

at::Tensor product(const at::Tensor& input, const at::Tensor& weight, const ConvGeometry* g) {
  if (!g) return at::linear(input, weight);
  return at::convolution(input, weight, {}, g->stride, g->padding, g->dilation, g->transposed,
                         g->output_padding, g->groups);
}

// Ends of the slices of input channels whose sums stay exact; empty: one channel alone is too much.
// magnitudes: int64 [C, K], sums of |q_w| over the kernel.
std::vector<int64_t> slice_ends(const at::Tensor& magnitudes, int64_t limit) {
  const int64_t channels = magnitudes.size(0), filters = magnitudes.size(1);
  const auto* row = magnitudes.const_data_ptr<int64_t>();
  std::vector<int64_t> sums(static_cast<size_t>(filters)), ends;
  for (int64_t c = 0; c < channels; ++c, row += filters) {
    if (*std::max_element(row, row + filters) >= limit) return {};
    bool fits = true;
    for (int64_t k = 0; k < filters; ++k) fits &= sums[static_cast<size_t>(k)] + row[k] < limit;
    if (!fits) {
      ends.push_back(c);
      std::fill(sums.begin(), sums.end(), 0);
    }
    for (int64_t k = 0; k < filters; ++k) sums[static_cast<size_t>(k)] += row[k];
  }
  ends.push_back(channels);
  return ends;
}

// Sums of |q_w| per output channel at most; a transposed weight is [C, K / groups, kernel...].
int64_t largest_sum(const at::Tensor& weight, const ConvGeometry* g) {
  const at::Tensor sizes = weight.to(at::kInt).abs();
  if (!g || !g->transposed) return sizes.flatten(1).sum(1).max().item<int64_t>();
  const at::Tensor grouped = sizes.unflatten(0, {g->groups, -1}).flatten(3);
  return grouped.sum(at::IntArrayRef({1, 3})).max().item<int64_t>();
}

std::vector<int64_t> slices(const at::Tensor& weight, const ConvGeometry* g, int64_t limit) {
  if (g && (g->transposed || g->groups > 1)) return {};
  const at::Tensor sizes = weight.to(at::kInt).abs();
  const at::Tensor per_channel = g ? sizes.flatten(2).sum(2) : sizes.to(at::kLong);
  return slice_ends(per_channel.t().contiguous(), limit);
}

}  // namespace

at::Tensor accumulate_float(const Codes& input, const at::Tensor& weight,
                            const ConvGeometry* geometry) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const int64_t channel_axis = geometry ? 1 : input.codes.dim() - 1;
  // sum < limit exactly where largest * sum < 2^24.
  const int64_t largest = std::max<int64_t>(1, largest_code(input));
  const int64_t limit = (kExactIntegers + largest - 1) / largest;
  std::vector<int64_t> ends;
  if (multiplies_directly(input.codes) && weight.numel() > 0) {
    const bool whole = largest_sum(weight, geometry) < limit;
    ends = whole ? std::vector<int64_t>{input.codes.size(channel_axis)}
                 : slices(weight, geometry, limit);
  }
  const bool in_float = !ends.empty();
  const auto type = in_float ? at::kFloat : at::kDouble;
  const at::Tensor centred = input.codes.to(type).sub_(input.params.zero_point);
  const at::Tensor filters = weight.to(type);
  at::Tensor acc;
  if (ends.size() <= 1) {
    acc = product(centred, filters, geometry);
  } else {
    int64_t start = 0;
    for (const int64_t end : ends) {
      const at::Tensor part = product(centred.narrow(channel_axis, start, end - start),
                                      filters.narrow(1, start, end - start), geometry);
      acc = acc.defined() ? acc.add_(part) : part.to(at::kDouble);
      start = end;
    }
  }
  acc = acc.to(at::kFloat);
  return acc.dim() == 4 && geometry ? acc.contiguous(at::MemoryFormat::ChannelsLast) : acc;
}

}  // namespace qat::insert
