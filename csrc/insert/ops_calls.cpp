#include "insert/ops_calls.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <string_view>

#include "insert/nodes_common.h"
#include "ops/find.h"
#include "quantizers/calls.h"

namespace qat::insert::call {
namespace {

using ops::find;

// The operators have no derivative, and whoever calls one here writes the node around it: straight
// to the kernel, without boxing the arguments for ops/autograd/not_differentiable.cpp.
using BelowAutograd = at::AutoDispatchBelowADInplaceOrView;

std::string_view name_of(GradientType products) {
  switch (products) {
    case GradientType::int16:
      return "int16";
    case GradientType::bfloat16:
      return "bfloat16";
    case GradientType::float32:
      break;
  }
  return "float32";
}

// The residual operand of the chain operators: a value, and its parameters when it is codes.
struct Residual {
  OptionalTensor value, scale, zero_point;
};

Residual residual_of(const Chain& chain) {
  if (!chain.residual.defined()) return {};
  const Payload* payload = payload_of(chain.residual);
  if (payload == nullptr) return {chain.residual, std::nullopt, std::nullopt};
  const Codes& codes = *payload->codes;
  return {codes.codes, codes.scale, codes.zero_point};
}

}  // namespace

int64_t axis_of(const Chain& chain) {
  const int64_t dim = chain.acc.dim(), last = std::max<int64_t>(dim - 1, 0);
  const bool any_serves = !chain.multiplier.defined() && !chain.slope.defined();
  return any_serves && dim != 4 && dim != 5 ? last : std::min(chain.axis, last);
}

at::Tensor quantize(const at::Tensor& x, const Codes& to) {
  return quantizers::call::quantize(x, to.scale, to.zero_point, -1, to.format);
}

at::Tensor dequantize(const Codes& codes) {
  using Signature = at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&, int64_t);
  static const auto op = find<Signature>("qat_ext::dequantize");
  const BelowAutograd below;
  return op.call(codes.codes, codes.scale, codes.zero_point, -1);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> quantize_with_mask(const at::Tensor& x,
                                                                  const Codes& to) {
  using Signature = std::tuple<at::Tensor, at::Tensor, at::Tensor>(
      const at::Tensor&, const at::Tensor&, const at::Tensor&, int64_t, int64_t, int64_t);
  static const auto op = find<Signature>("qat_ext::quantize_with_mask");
  const BelowAutograd below;
  return op.call(x, to.scale, to.zero_point, -1, to.format.quant_min(), to.format.quant_max());
}

at::Tensor straight_through(const at::Tensor& grad, const at::Tensor& mask,
                            at::IntArrayRef stride) {
  using Signature = at::Tensor(const at::Tensor&, const at::Tensor&, c10::SymIntArrayRef);
  static const auto op = find<Signature>("qat_ext::straight_through");
  const BelowAutograd below;
  return op.call(grad, mask, c10::fromIntArrayRefSlow(stride));
}

at::Tensor fake_quantize_backward(const at::Tensor& grad, const at::Tensor& x, const Codes& to) {
  return quantizers::call::fake_quantize_backward(grad, x, to.scale, to.zero_point, -1, to.format);
}

at::Tensor conv_int(const Codes& input, const at::Tensor& weight, const ConvGeometry& g) {
  using Signature = at::Tensor(const at::Tensor&, int64_t, const at::Tensor&, at::IntArrayRef,
                               at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, int64_t, bool);
  static const auto op = find<Signature>("qat_ext::conv_int");
  const BelowAutograd below;
  return op.call(input.codes, input.params.zero_point, weight, g.stride, g.padding, g.dilation,
                 g.output_padding, g.groups, g.transposed);
}

std::tuple<at::Tensor, at::Tensor> conv_int_backward(const at::Tensor& grad, const Codes& input,
                                                     const QuantizedWeight& weight,
                                                     const ConvGeometry& g, GradientType products,
                                                     bool input_grad, bool weight_grad) {
  using Signature = std::tuple<at::Tensor, at::Tensor>(
      const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
      const at::Tensor&, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef,
      int64_t, bool, std::string_view, bool, bool);
  static const auto op = find<Signature>("qat_ext::conv_int_backward");
  const BelowAutograd below;
  return op.call(grad, input.codes, input.scale, input.zero_point, weight.codes, weight.scale,
                 g.stride, g.padding, g.dilation, g.output_padding, g.groups, g.transposed,
                 name_of(products), input_grad, weight_grad);
}

at::Tensor linear_int(const Codes& input, const at::Tensor& weight) {
  using Signature = at::Tensor(const at::Tensor&, int64_t, const at::Tensor&);
  static const auto op = find<Signature>("qat_ext::linear_int");
  const BelowAutograd below;
  return op.call(input.codes, input.params.zero_point, weight);
}

at::Tensor sum_codes(const Codes& codes) {
  using Signature = at::Tensor(const at::Tensor&, int64_t);
  static const auto op = find<Signature>("qat_ext::sum_codes");
  const BelowAutograd below;
  return op.call(codes.codes, codes.params.zero_point);
}

at::Tensor lookup(const at::Tensor& codes, const at::Tensor& table, int64_t quant_min) {
  using Signature = at::Tensor(const at::Tensor&, const at::Tensor&, int64_t);
  static const auto op = find<Signature>("qat_ext::lookup");
  const BelowAutograd below;
  return op.call(codes, table, quant_min);
}

std::tuple<at::Tensor, at::Tensor> batch_statistics(const at::Tensor& acc,
                                                    const at::Tensor& multiplier,
                                                    const at::Tensor& bias, int64_t axis) {
  using Signature = std::tuple<at::Tensor, at::Tensor>(const at::Tensor&, const OptionalTensor&,
                                                       const OptionalTensor&, int64_t);
  static const auto op = find<Signature>("qat_ext::batch_statistics");
  const BelowAutograd below;
  return op.call(acc, optional(multiplier), optional(bias), axis);
}

std::tuple<at::Tensor, at::Tensor> fold_batch_norm(const at::Tensor& multiplier,
                                                   const at::Tensor& bias, const at::Tensor& gamma,
                                                   const at::Tensor& beta, const at::Tensor& mean,
                                                   const at::Tensor& variance, double eps) {
  using Signature = std::tuple<at::Tensor, at::Tensor>(
      const OptionalTensor&, const OptionalTensor&, const OptionalTensor&, const OptionalTensor&,
      const at::Tensor&, const at::Tensor&, double);
  static const auto op = find<Signature>("qat_ext::fold_batch_norm");
  const BelowAutograd below;
  return op.call(optional(multiplier), optional(bias), optional(gamma), optional(beta), mean,
                 variance, eps);
}

at::Tensor bn_act(const Chain& chain) {
  using Signature = at::Tensor(const at::Tensor&, const OptionalTensor&, const OptionalTensor&,
                               const OptionalTensor&, const OptionalTensor&, const OptionalTensor&,
                               const OptionalTensor&, int64_t, int64_t, double, double);
  static const auto op = find<Signature>("qat_ext::bn_act");
  const Residual residual = residual_of(chain);
  const BelowAutograd below;
  return op.call(chain.acc, optional(chain.multiplier), optional(chain.bias), residual.value,
                 residual.scale, residual.zero_point, optional(chain.slope), axis_of(chain),
                 static_cast<int64_t>(chain.activation.kind), chain.activation.p0,
                 chain.activation.p1);
}

at::Tensor finite_range(const at::Tensor& x) {
  using Signature = void(const at::Tensor&, at::Tensor, at::Tensor, at::Tensor, int64_t, double);
  static const auto op = find<Signature>("qat_ext::observe_minmax_");
  const auto zero = [&](at::ScalarType type) { return at::zeros({1}, x.options().dtype(type)); };
  const at::Tensor min = zero(at::kFloat), max = zero(at::kFloat);
  const BelowAutograd below;
  op.call(x, min, max, zero(at::kLong), -1, 1.0);
  return at::cat({min, max});
}

at::Tensor affine_half(const Chain& chain) {
  using Signature = std::tuple<at::Tensor, at::Tensor>(const at::Tensor&, const OptionalTensor&,
                                                       const OptionalTensor&, int64_t);
  static const auto op = find<Signature>("qat_ext::affine_half");
  const BelowAutograd below;
  auto [values, fits] =
      op.call(chain.acc, optional(chain.multiplier), optional(chain.bias), axis_of(chain));
  return fits.item<bool>() ? values : at::Tensor();
}

std::tuple<at::Tensor, at::Tensor> bn_act_quantize(const Chain& chain, const Codes& to,
                                                   bool observe) {
  using Signature = std::tuple<at::Tensor, at::Tensor>(
      const at::Tensor&, const OptionalTensor&, const OptionalTensor&, const OptionalTensor&,
      const OptionalTensor&, const OptionalTensor&, const OptionalTensor&, const at::Tensor&,
      const at::Tensor&, int64_t, int64_t, double, double, int64_t, int64_t, bool);
  static const auto op = find<Signature>("qat_ext::bn_act_quantize");
  const Residual residual = residual_of(chain);
  const BelowAutograd below;
  return op.call(chain.acc, optional(chain.multiplier), optional(chain.bias), residual.value,
                 residual.scale, residual.zero_point, optional(chain.slope), to.scale,
                 to.zero_point, axis_of(chain), static_cast<int64_t>(chain.activation.kind),
                 chain.activation.p0, chain.activation.p1, to.format.quant_min(),
                 to.format.quant_max(), observe);
}

ChainGradients bn_act_backward(const at::Tensor& grad, const Chain& chain, const Codes& to,
                               const ChainGradientOptions& options) {
  using Signature = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor,
                               at::Tensor, at::Tensor>(
      const at::Tensor&, const at::Tensor&, const OptionalTensor&, const OptionalTensor&,
      const OptionalTensor&, const OptionalTensor&, const OptionalTensor&, const OptionalTensor&,
      const OptionalTensor&, const OptionalTensor&, const OptionalTensor&, const OptionalTensor&,
      const OptionalTensor&, int64_t, int64_t, double, double, int64_t, int64_t, bool, bool, bool,
      bool);
  static const auto op = find<Signature>("qat_ext::bn_act_quantize_backward");
  const Residual residual = residual_of(chain);
  const bool has_bn = chain.batch_norm.has_value();
  const ChainBatchNorm none;
  const ChainBatchNorm& bn = has_bn ? *chain.batch_norm : none;
  const BelowAutograd below;
  auto [value, d_residual, sum_dy, sum_dy_xhat, slope, scale, zero_point] = op.call(
      grad, chain.acc, optional(chain.multiplier), optional(chain.bias), residual.value,
      residual.scale, residual.zero_point, optional(chain.slope), optional(to.scale),
      optional(to.zero_point), optional(bn.xhat_multiplier), optional(bn.xhat_bias),
      optional(bn.gain), axis_of(chain), static_cast<int64_t>(chain.activation.kind),
      chain.activation.p0, chain.activation.p1, to.format.quant_min(), to.format.quant_max(),
      bn.through_statistics, options.residual, options.learned, options.clipped_only);
  return {value, d_residual, sum_dy, sum_dy_xhat, slope, scale, zero_point};
}

}  // namespace qat::insert::call
