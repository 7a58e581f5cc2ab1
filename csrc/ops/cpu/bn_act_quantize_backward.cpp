#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include "numerics/quantize.h"
#include "ops/cpu/chain_view.h"
#include "ops/cpu/elementwise.h"

namespace qat::ops {
namespace {

using FiveTensors = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

at::Tensor to_float_tensor(const std::vector<double>& values, const at::TensorOptions& options) {
  auto out = at::empty({static_cast<int64_t>(values.size())}, options);
  float* to = out.mutable_data_ptr<float>();
  for (size_t i = 0; i < values.size(); ++i) to[i] = static_cast<float>(values[i]);
  return out;
}

const float* mean_tile(ChainView& view, const std::vector<double>& sums) {
  std::vector<float> means(sums.size());
  const auto rows = static_cast<double>(view.rows());
  for (size_t c = 0; c < sums.size(); ++c) means[c] = static_cast<float>(sums[c] / rows);
  return view.tiled(means);
}

// Sum of dy, of dy * x_hat and, where slope is given, of the slope's gradient, per channel.
std::vector<std::vector<double>> reduce(const ChainView& view,
                                        const kernels::ChainBackward& backward, bool slope) {
  return view.sum_over_rows(slope ? 3 : 2, [&](int64_t begin, int64_t end, double* const* sums) {
    kernels::kernels().chain_backward_sums(backward, begin, end,
                                           {sums[0], sums[1], slope ? sums[2] : nullptr});
  });
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

FiveTensors run(ChainView& view, const BackwardArguments& arguments,
                const QuantizerArguments* quantizer, int64_t axis, bool slope, bool residual_grad,
                const at::Tensor& acc) {
  const auto grad = to_rows(arguments.grad.to(at::kFloat), axis);
  kernels::ChainBackward backward{.chain = view.chain(), .grad = grad.const_data_ptr<float>()};
  if (quantizer != nullptr) set_pass_range(view, *quantizer, backward);
  backward.gain = view.tiled(arguments.gain, 1.0f);
  backward.xhat_multiplier = view.tiled(arguments.xhat_multiplier, 0.0f);
  backward.xhat_bias = view.tiled(arguments.xhat_bias, 0.0f);
  backward.mean_dy = backward.mean_dy_xhat = view.tiled(OptionalTensor(), 0.0f);
  const auto sums = reduce(view, backward, slope);
  if (arguments.through_statistics) {
    backward.mean_dy = mean_tile(view, sums[0]);
    backward.mean_dy_xhat = mean_tile(view, sums[1]);
  }
  const auto none = [&] { return at::empty({0}, acc.options()); };
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
  return {d_value, d_residual, to_float_tensor(sums[0], acc.options()),
          to_float_tensor(sums[1], acc.options()),
          slope ? to_float_tensor(sums[2], acc.options()) : none()};
}

FiveTensors bn_act_quantize_backward(
    const at::Tensor& grad, const at::Tensor& acc, const OptionalTensor& multiplier,
    const OptionalTensor& bias, const OptionalTensor& residual,
    const OptionalTensor& residual_scale, const OptionalTensor& residual_zero_point,
    const OptionalTensor& slope, const OptionalTensor& scale, const OptionalTensor& zero_point,
    const OptionalTensor& xhat_multiplier, const OptionalTensor& xhat_bias,
    const OptionalTensor& gain, int64_t axis, int64_t activation, double p0, double p1,
    int64_t quant_min, int64_t quant_max, bool through_statistics, bool residual_grad) {
  const ChainArguments chain{
      "bn_act_quantize_backward", acc,   multiplier, bias,       residual, residual_scale,
      residual_zero_point,        slope, axis,       activation, p0,       p1};
  const BackwardArguments backward{grad, xhat_multiplier, xhat_bias, gain, through_statistics};
  check_chain_backward(chain, backward, scale, zero_point, quant_min, quant_max);
  if (!scale) {
    ChainView view(chain, nullptr, kernels::make_narrow_tile);
    return run(view, backward, nullptr, axis, slope.has_value(), residual_grad, acc);
  }
  const QuantizerArguments quantizer{*scale, *zero_point, quant_min, quant_max};
  ChainView view(chain, &quantizer, kernels::make_narrow_tile);
  return run(view, backward, &quantizer, axis, slope.has_value(), residual_grad, acc);
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CPU, m) {
  m.impl("bn_act_quantize_backward", &bn_act_quantize_backward);
}

}  // namespace qat::ops
