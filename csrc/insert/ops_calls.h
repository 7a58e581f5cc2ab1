#pragma once
// Typed calls of the library's own operators through the dispatcher.

#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

#include "insert/nodes.h"
#include "quantizers/recipe.h"

namespace qat::insert::call {

using OptionalTensor = std::optional<at::Tensor>;

// The axis whose rows a chain's results lie in: that of the channels, of an image's channels also
// where nothing of the chain is per channel, and else the last one, which copies nothing.
int64_t axis_of(const Chain& chain);
at::Tensor quantize(const at::Tensor& x, const Codes& to);
at::Tensor dequantize(const Codes& codes);
// (codes, mask of rule 4 in bits, range), and a gradient under such a mask; stride: the codes'.
std::tuple<at::Tensor, at::Tensor, at::Tensor> quantize_with_mask(const at::Tensor& x,
                                                                  const Codes& to);
at::Tensor straight_through(const at::Tensor& grad, const at::Tensor& mask, at::IntArrayRef stride);
at::Tensor fake_quantize_backward(const at::Tensor& grad, const at::Tensor& x, const Codes& to);
at::Tensor conv_int(const Codes& input, const at::Tensor& weight, const ConvGeometry& geometry);
// (d_input, d_weight); what is not wanted has no elements.
std::tuple<at::Tensor, at::Tensor> conv_int_backward(const at::Tensor& grad, const Codes& input,
                                                     const QuantizedWeight& weight,
                                                     const ConvGeometry& geometry,
                                                     GradientType products, bool input_grad,
                                                     bool weight_grad);
at::Tensor linear_int(const Codes& input, const at::Tensor& weight);
// int64[N, C]: of codes minus zero point over the positions of each channel.
at::Tensor sum_codes(const Codes& codes);
at::Tensor lookup(const at::Tensor& codes, const at::Tensor& table, int64_t quant_min);
std::tuple<at::Tensor, at::Tensor> batch_statistics(const at::Tensor& acc,
                                                    const at::Tensor& multiplier,
                                                    const at::Tensor& bias, int64_t axis);
std::tuple<at::Tensor, at::Tensor> fold_batch_norm(const at::Tensor& multiplier,
                                                   const at::Tensor& bias, const at::Tensor& gamma,
                                                   const at::Tensor& beta, const at::Tensor& mean,
                                                   const at::Tensor& variance, double eps);
at::Tensor bn_act(const Chain& chain);
// float32[2]: smallest and largest finite value, or [0, 0] where there is none.
at::Tensor finite_range(const at::Tensor& x);
// float16 of acc * multiplier + bias; undefined where float16 has no number for one of them.
at::Tensor affine_half(const Chain& chain);
std::tuple<at::Tensor, at::Tensor> bn_act_quantize(const Chain& chain, const Codes& to,
                                                   bool observe);
struct ChainGradients {
  at::Tensor value, residual, sum_dy, sum_dy_xhat, slope, scale, zero_point;
};
struct ChainGradientOptions {
  bool residual, learned, clipped_only;
};
// scale and zero_point of `to` undefined: gradient of bn_act.
ChainGradients bn_act_backward(const at::Tensor& grad, const Chain& chain, const Codes& to,
                               const ChainGradientOptions& options);

}  // namespace qat::insert::call
