#include <torch/library.h>

#include "ops/cuda/chain_view.h"
#include "ops/cuda/device.h"
#include "ops/cuda/reduction.h"

namespace qat::ops::cuda {
namespace {

// One result per channel of every sum, and the means; one per scale of the quantizer.
struct ChannelSums {
  at::Tensor dy, dy_xhat, dy_slope, mean_dy, mean_dy_xhat, scale, zero_point;
};

ChannelSums reduce(const kernels::cuda::BackwardChain& backward, bool slope,
                   const BackwardArguments& arguments, const at::TensorOptions& options,
                   cudaStream_t stream) {
  const int64_t channels = backward.chain.channels;
  const auto blocks = column_blocks(backward.chain.count, channels, kernels::make_narrow_tile);
  const auto per_channel = [&] { return at::empty({channels}, options); };
  const bool learned = arguments.learned;
  const int64_t scales = backward.chain.quantizer.scale.uniform ? 1 : channels;
  const auto of_quantizer = [&] { return at::empty({learned ? scales : 0}, options); };
  ChannelSums sums{per_channel(), per_channel(), at::empty({slope ? channels : 0}, options),
                   per_channel(), per_channel(), of_quantizer(),
                   of_quantizer()};
  const auto data = [](at::Tensor& of, bool wanted) {
    return wanted ? of.mutable_data_ptr<float>() : nullptr;
  };
  const kernels::cuda::BackwardSums out{data(sums.dy, true),
                                        data(sums.dy_xhat, true),
                                        data(sums.dy_slope, slope),
                                        data(sums.mean_dy, true),
                                        data(sums.mean_dy_xhat, true),
                                        data(sums.scale, learned),
                                        data(sums.zero_point, learned),
                                        arguments.clipped_only};
  SumBuffers buffers(blocks, out.count(), options);
  kernels::cuda::chain_backward_sums(backward, blocks, buffers.workspace(), out, stream);
  return sums;
}

ChainGradients run(ChainView& view, const ChainArguments& chain,
                   const BackwardArguments& arguments) {
  const at::Tensor& acc = chain.acc;
  const int64_t axis = chain.axis;
  const bool residual_grad = arguments.residual_grad;
  const OnDeviceOf device(acc);
  const auto grad = to_rows(arguments.grad.to(at::kFloat), axis);
  kernels::cuda::BackwardChain backward;
  backward.chain = view.chain();
  backward.grad = grad.const_data_ptr<float>();
  Parameters& parameters = view.parameters();
  backward.gain = parameters.read(arguments.gain, 1.0f);
  backward.xhat_multiplier = parameters.read(arguments.xhat_multiplier, 0.0f);
  backward.xhat_bias = parameters.read(arguments.xhat_bias, 0.0f);
  const auto sums =
      reduce(backward, chain.slope.has_value(), arguments, acc.options(), device.stream());
  if (arguments.through_statistics) {
    backward.mean_dy = parameters.read<float>(sums.mean_dy);
    backward.mean_dy_xhat = parameters.read<float>(sums.mean_dy_xhat);
  }
  auto d_value = empty_rows_like(acc, axis, at::kFloat);
  auto d_residual =
      residual_grad ? empty_rows_like(acc, axis, at::kFloat) : at::empty({0}, acc.options());
  kernels::cuda::chain_backward_apply(
      backward, d_value.mutable_data_ptr<float>(),
      residual_grad ? d_residual.mutable_data_ptr<float>() : nullptr, device.stream());
  return {d_value, d_residual, sums.dy, sums.dy_xhat, sums.dy_slope, sums.scale, sums.zero_point};
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
  const auto arguments_of = [&](const at::Tensor& rows) -> ChainArguments {
    return {"bn_act_quantize_backward", rows,  multiplier, bias,       residual, residual_scale,
            residual_zero_point,        slope, axis,       activation, p0,       p1};
  };
  const BackwardArguments backward{grad,    xhat_multiplier,    xhat_bias,
                                   gain,    through_statistics, residual_grad,
                                   learned, clipped_only};
  check_chain_backward(arguments_of(acc), backward, scale, zero_point, quant_min, quant_max);
  const OnDeviceOf device(acc);
  const at::Tensor wide = acc.to(at::kFloat);
  const ChainArguments chain = arguments_of(wide);
  if (!scale) {
    ChainView view(chain);
    return run(view, chain, backward);
  }
  const QuantizerArguments quantizer{*scale, *zero_point, quant_min, quant_max};
  ChainView view(chain, &quantizer);
  return run(view, chain, backward);
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CUDA, m) {
  m.impl("bn_act_quantize_backward", &bn_act_quantize_backward);
}

}  // namespace qat::ops::cuda
