#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <numeric>
#include <utility>

#include "numerics/quantize.h"
#include "ops/cpu/chain_view.h"
#include "ops/cpu/elementwise.h"

namespace qat::ops {
namespace {

using Sums = std::vector<double>;

at::Tensor to_float_tensor(const Sums& values, const at::TensorOptions& options) {
  auto out = at::empty({static_cast<int64_t>(values.size())}, options);
  float* to = out.mutable_data_ptr<float>();
  for (size_t i = 0; i < values.size(); ++i) to[i] = static_cast<float>(values[i]);
  return out;
}

const float* mean_tile(ChainView& view, const Sums& sums) {
  std::vector<float> means(sums.size());
  const auto rows = static_cast<double>(view.rows());
  for (size_t c = 0; c < sums.size(); ++c) means[c] = static_cast<float>(sums[c] / rows);
  return view.tiled(means);
}

// Sums per channel; those that are not wanted are empty.
struct ChannelSums {
  Sums dy, dy_xhat, slope, scale, zero_point;
};

ChannelSums reduce(const ChainView& view, const kernels::ChainBackward& backward, bool slope,
                   const BackwardArguments& arguments) {
  const int learned = slope ? 3 : 2;
  const int count = learned + (arguments.learned ? 2 : 0);
  auto all = view.sum_over_rows(count, [&](int64_t begin, int64_t end, double* const* sums) {
    kernels::ChainSums to{.dy = sums[0], .dy_xhat = sums[1]};
    if (slope) to.dy_slope = sums[2];
    if (arguments.learned) to.learned = {sums[learned], sums[learned + 1], arguments.clipped_only};
    kernels::kernels().chain_backward_sums(backward, begin, end, to);
  });
  ChannelSums of;
  of.dy = std::move(all[0]);
  of.dy_xhat = std::move(all[1]);
  if (slope) of.slope = std::move(all[2]);
  if (arguments.learned) {
    of.scale = std::move(all[learned]);
    of.zero_point = std::move(all[learned + 1]);
  }
  return of;
}

// One scale for all channels gets the sum over them, in ascending order.
Sums of_quantizer(const Sums& of_channel, int64_t count) {
  if (count != 1) return of_channel;
  return {std::accumulate(of_channel.begin(), of_channel.end(), 0.0)};
}

at::Tensor scale_gradient(const ChannelSums& sums, const QuantizerArguments& quantizer,
                          const at::TensorOptions& options) {
  return to_float_tensor(of_quantizer(sums.scale, quantizer.scale.numel()), options);
}

at::Tensor zero_point_gradient(const ChannelSums& sums, const QuantizerArguments& quantizer,
                               const at::TensorOptions& options) {
  const at::Tensor scale = quantizer.scale.contiguous();
  Sums terms = of_quantizer(sums.zero_point, scale.numel());
  for (size_t c = 0; c < terms.size(); ++c) {
    terms[c] *= -static_cast<double>(scale.const_data_ptr<float>()[c]);
  }
  return to_float_tensor(terms, options);
}

// The gradients that rule 4 lets pass, as intervals per channel.
void set_pass_range(ChainView& view, const QuantizerArguments& quantizer,
                    kernels::ChainBackward& backward) {
  const at::Tensor scale = quantizer.scale.contiguous();
  const at::Tensor zero_point = quantizer.zero_point.contiguous();
  std::vector<float> lo, hi;
  for (int64_t c = 0; c < scale.numel(); ++c) {
    const auto range = numerics::pass_range(
        numerics::inverse_scale(scale.const_data_ptr<float>()[c]),
        numerics::to_float(zero_point.const_data_ptr<int32_t>()[c]),
        static_cast<float>(quantizer.quant_min), static_cast<float>(quantizer.quant_max));
    lo.push_back(range.lo);
    hi.push_back(range.hi);
  }
  backward.pass_lo = view.tiled(lo);
  backward.pass_hi = view.tiled(hi);
}

ChainGradients run(ChainView& view, const ChainArguments& chain, const BackwardArguments& arguments,
                   const QuantizerArguments* quantizer) {
  const int64_t axis = chain.axis;
  const bool slope = chain.slope.has_value(), residual_grad = arguments.residual_grad;
  const at::Tensor& acc = chain.acc;
  const auto grad = in_rows(arguments.grad.to(at::kFloat), axis);
  kernels::ChainBackward backward{
      .chain = view.chain(), .half_acc = view.half_acc(), .grad = grad.const_data_ptr<float>()};
  if (quantizer != nullptr) set_pass_range(view, *quantizer, backward);
  backward.gain = view.tiled(arguments.gain, 1.0f);
  backward.xhat_multiplier = view.tiled(arguments.xhat_multiplier, 0.0f);
  backward.xhat_bias = view.tiled(arguments.xhat_bias, 0.0f);
  backward.mean_dy = backward.mean_dy_xhat = view.tiled(OptionalTensor(), 0.0f);
  const ChannelSums sums = reduce(view, backward, slope, arguments);
  if (arguments.through_statistics) {
    backward.mean_dy = mean_tile(view, sums.dy);
    backward.mean_dy_xhat = mean_tile(view, sums.dy_xhat);
  }
  const auto options = acc.options().dtype(at::kFloat);
  const auto none = [&] { return at::empty({0}, options); };
  auto d_value = empty_rows_like(acc, axis, at::kFloat);
  auto d_residual = residual_grad ? empty_rows_like(acc, axis, at::kFloat) : none();
  float* to_value = d_value.mutable_data_ptr<float>();
  float* to_residual = residual_grad ? d_residual.mutable_data_ptr<float>() : nullptr;
  const auto streams = [&](const float* to) {
    return should_stream(view.elements(), view.tile().width, to);
  };
  backward.streams = streams(to_value) && (!residual_grad || streams(to_residual));
  view.for_each_range([&](int64_t begin, int64_t end) {
    kernels::kernels().chain_backward_apply(backward, begin, end, to_value, to_residual);
  });
  const bool learned = arguments.learned;
  return {d_value,
          d_residual,
          to_float_tensor(sums.dy, options),
          to_float_tensor(sums.dy_xhat, options),
          to_float_tensor(sums.slope, options),
          learned ? scale_gradient(sums, *quantizer, options) : none(),
          learned ? zero_point_gradient(sums, *quantizer, options) : none()};
}

ChainGradients bn_act_quantize_backward(
    const at::Tensor& grad, const at::Tensor& acc, const OptionalTensor& multiplier,
    const OptionalTensor& bias, const OptionalTensor& residual,
    const OptionalTensor& residual_scale, const OptionalTensor& residual_zero_point,
    const OptionalTensor& slope, const OptionalTensor& scale, const OptionalTensor& zero_point,
    const OptionalTensor& xhat_multiplier, const OptionalTensor& xhat_bias,
    const OptionalTensor& gain, int64_t axis, int64_t activation, double p0, double p1,
    int64_t quant_min, int64_t quant_max, bool through_statistics, bool residual_grad, bool learned,
    bool clipped_only) {
  const ChainArguments chain{
      "bn_act_quantize_backward", acc,   multiplier, bias,       residual, residual_scale,
      residual_zero_point,        slope, axis,       activation, p0,       p1};
  const BackwardArguments backward{grad,    xhat_multiplier,    xhat_bias,
                                   gain,    through_statistics, residual_grad,
                                   learned, clipped_only};
  check_chain_backward(chain, backward, scale, zero_point, quant_min, quant_max);
  if (!scale) {
    ChainView view(chain, nullptr, kernels::make_narrow_tile);
    return run(view, chain, backward, nullptr);
  }
  const QuantizerArguments quantizer{*scale, *zero_point, quant_min, quant_max};
  ChainView view(chain, &quantizer, kernels::make_narrow_tile);
  return run(view, chain, backward, &quantizer);
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CPU, m) {
  m.impl("bn_act_quantize_backward", &bn_act_quantize_backward);
}

}  // namespace qat::ops
