#include "ops/chain.h"

#include <ATen/DimVector.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_strided.h>

#include <algorithm>

#include "numerics/activation.h"

namespace qat::ops {
namespace {

void check_residual(const ChainArguments& chain, const c10::SymInt& channels) {
  const char* op = chain.op;
  if (!chain.residual) {
    TORCH_CHECK_VALUE(!chain.residual_scale && !chain.residual_zero_point, op,
                      ": residual_scale, residual_zero_point: expected None without a residual.");
    return;
  }
  const at::Tensor& residual = *chain.residual;
  check_device(op, "residual", residual, chain.acc);
  check_same_sizes(op, "residual", residual, chain.acc);
  if (residual.scalar_type() == at::kFloat) return;
  const auto type = residual.scalar_type();
  TORCH_CHECK_VALUE(type == at::kByte || type == at::kChar, op,
                    ": residual: expected float32, or codes in uint8 or int8, got ", type, ".");
  TORCH_CHECK_VALUE(chain.residual_scale && chain.residual_zero_point, op,
                    ": residual_scale, residual_zero_point: expected tensors where the residual "
                    "holds codes, got None.");
  check_per_channel(op, "residual_scale", *chain.residual_scale, chain.acc, channels, true);
  check_dtype(op, "residual_zero_point", *chain.residual_zero_point, at::kInt);
  check_device(op, "residual_zero_point", *chain.residual_zero_point, chain.acc);
  TORCH_CHECK_VALUE(chain.residual_zero_point->sym_numel() == chain.residual_scale->sym_numel(), op,
                    ": residual_zero_point: expected as many elements as residual_scale has (",
                    chain.residual_scale->sym_numel(), "), got ",
                    chain.residual_zero_point->sym_numel(), ".");
}

// Calls visit(i) for the axes of rows of channels from the innermost one on, until it is false.
template <typename Visit>
bool for_each_axis(int64_t rank, int64_t channel_axis, Visit visit) {
  if (!visit(channel_axis)) return false;
  for (int64_t i = rank; i-- > 0;) {
    if (i != channel_axis && !visit(i)) return false;
  }
  return true;
}

bool is_in_rows(const at::Tensor& x, int64_t axis) {
  if (x.numel() == 0) return true;
  const auto sizes = x.sizes(), strides = x.strides();
  int64_t step = 1;
  return for_each_axis(x.dim(), axis, [&](int64_t i) {
    if (sizes[i] != 1 && strides[i] != step) return false;
    step *= sizes[i];
    return true;
  });
}

at::DimVector row_strides(at::IntArrayRef sizes, int64_t axis) {
  at::DimVector strides(sizes.size());
  int64_t step = 1;
  for_each_axis(static_cast<int64_t>(sizes.size()), axis, [&](int64_t i) {
    strides[i] = step;
    step *= std::max<int64_t>(sizes[i], 1);
    return true;
  });
  return strides;
}

// All but the type of acc.
void check_rows(const ChainArguments& chain) {
  const char* op = chain.op;
  TORCH_CHECK_VALUE(chain.acc.dim() > 0, op, ": acc: expected a channel axis, got a scalar.");
  const auto channels = chain.acc.sym_size(check_axis(op, chain.acc, chain.axis));
  check_per_channel(op, "multiplier", chain.multiplier, chain.acc, channels);
  check_per_channel(op, "bias", chain.bias, chain.acc, channels);
  if (chain.slope) check_per_channel(op, "slope", *chain.slope, chain.acc, channels, true);
  check_residual(chain, channels);
  using numerics::ActivationKind;
  constexpr auto kLast = static_cast<int64_t>(ActivationKind::hardsigmoid);
  TORCH_CHECK_VALUE(chain.activation >= 0 && chain.activation <= kLast, op,
                    ": activation: expected a number from 0 to ", kLast, ", got ", chain.activation,
                    ".");
  TORCH_CHECK_VALUE(
      !chain.slope || chain.activation == static_cast<int64_t>(ActivationKind::leaky_relu), op,
      ": slope: expected None unless activation is leaky_relu (3), which is ", chain.activation,
      ".");
}

}  // namespace

void check_chain(const ChainArguments& chain) {
  check_dtype(chain.op, "acc", chain.acc, at::kFloat);
  check_rows(chain);
}

void check_chain_quantizer(const ChainArguments& chain, const QuantizerArguments& quantizer) {
  check_qparams(chain.op, chain.acc, quantizer.scale, quantizer.zero_point,
                check_axis(chain.op, chain.acc, chain.axis));
  check_code_range(chain.op, quantizer.quant_min, quantizer.quant_max);
}

void check_chain_backward(const ChainArguments& chain, const BackwardArguments& backward,
                          const OptionalTensor& scale, const OptionalTensor& zero_point,
                          int64_t quant_min, int64_t quant_max) {
  const char* op = chain.op;
  const auto type = chain.acc.scalar_type();
  TORCH_CHECK_VALUE(type == at::kFloat || type == at::kHalf, op,
                    ": acc: expected float32 or float16, got ", type, ".");
  check_rows(chain);
  TORCH_CHECK_VALUE(scale.has_value() == zero_point.has_value(), op,
                    ": scale, zero_point: expected both or neither, got one.");
  if (scale) check_chain_quantizer(chain, {*scale, *zero_point, quant_min, quant_max});
  TORCH_CHECK_VALUE(scale || !backward.learned, op,
                    ": learned: expected a scale and a zero_point, got None.");
  TORCH_CHECK_VALUE(backward.learned || !backward.clipped_only, op,
                    ": clipped_only: expected False unless learned is True.");
  check_floating(op, "grad", backward.grad);
  check_device(op, "grad", backward.grad, chain.acc);
  check_same_sizes(op, "grad", backward.grad, chain.acc);
  const auto channels = chain.acc.sym_size(check_axis(op, chain.acc, chain.axis));
  check_per_channel(op, "xhat_multiplier", backward.xhat_multiplier, chain.acc, channels);
  check_per_channel(op, "xhat_bias", backward.xhat_bias, chain.acc, channels);
  check_per_channel(op, "gain", backward.gain, chain.acc, channels);
  TORCH_CHECK_VALUE(backward.xhat_multiplier.has_value() == backward.xhat_bias.has_value(), op,
                    ": xhat_multiplier, xhat_bias: expected both or neither, got one.");
  TORCH_CHECK_VALUE(!backward.through_statistics || backward.xhat_multiplier, op,
                    ": xhat_multiplier: expected a tensor with through_statistics, got None.");
}

void check_requantize(const at::Tensor& acc, const at::Tensor& multiplier,
                      const OptionalTensor& bias, const QuantizerArguments& quantizer,
                      int64_t axis) {
  const OptionalTensor given = multiplier, none;
  const ChainArguments chain{"requantize", acc, given, bias, none, none, none, none, axis, 0, 0, 0};
  check_chain(chain);
  check_chain_quantizer(chain, quantizer);
}

void check_batch_statistics(const at::Tensor& acc, const OptionalTensor& multiplier,
                            const OptionalTensor& bias, int64_t axis) {
  const OptionalTensor none;
  check_chain({"batch_statistics", acc, multiplier, bias, none, none, none, none, axis, 0, 0, 0});
}

void check_affine_half(const at::Tensor& acc, const OptionalTensor& multiplier,
                       const OptionalTensor& bias, int64_t axis) {
  const OptionalTensor none;
  check_chain({"affine_half", acc, multiplier, bias, none, none, none, none, axis, 0, 0, 0});
}

void check_fold_batch_norm(const OptionalTensor& multiplier, const OptionalTensor& bias,
                           const OptionalTensor& gamma, const OptionalTensor& beta,
                           const at::Tensor& mean, const at::Tensor& variance, double eps) {
  constexpr const char* kOp = "fold_batch_norm";
  check_dtype(kOp, "mean", mean, at::kFloat);
  TORCH_CHECK_VALUE(mean.dim() == 1, kOp, ": mean: expected one axis, got the shape ",
                    mean.sym_sizes(), ".");
  const auto channels = mean.sym_numel();
  check_per_channel(kOp, "variance", variance, mean, channels, false);
  check_per_channel(kOp, "multiplier", multiplier, mean, channels);
  check_per_channel(kOp, "bias", bias, mean, channels);
  check_per_channel(kOp, "gamma", gamma, mean, channels);
  check_per_channel(kOp, "beta", beta, mean, channels);
  TORCH_CHECK_VALUE(eps >= 0, kOp, ": eps: expected a number that is not negative, got ", eps, ".");
}

at::Tensor in_rows(const at::Tensor& x, int64_t axis) {
  if (x.dim() == 0) return x;
  axis = axis < 0 ? axis + x.dim() : axis;
  if (is_in_rows(x, axis)) return x;
  return x.movedim(axis, -1).contiguous().movedim(-1, axis);
}

at::Tensor to_rows(const at::Tensor& x, int64_t axis) { return x.movedim(axis, -1).contiguous(); }

at::Tensor empty_rows(c10::SymIntArrayRef sizes, int64_t axis, const at::TensorOptions& options) {
  const auto fixed = c10::asIntArrayRefSlowOpt(sizes);
  if (fixed) return at::empty_strided(*fixed, row_strides(*fixed, axis), options);
  auto moved = sizes.vec();
  std::rotate(moved.begin() + axis, moved.begin() + axis + 1, moved.end());
  return at::empty_symint(moved, options).movedim(-1, axis);
}

at::Tensor empty_rows_like(const at::Tensor& x, int64_t axis, at::ScalarType type) {
  return empty_rows(x.sym_sizes(), axis < 0 ? axis + x.dim() : axis, x.options().dtype(type));
}

}  // namespace qat::ops
