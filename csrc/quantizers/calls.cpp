#include "quantizers/calls.h"

#include "ops/find.h"

namespace qat::quantizers::call {
namespace {

using at::Tensor;

using ops::find;

Tensor per_channel(const Tensor& scale, const PlainWeight& options) {
  return options.axis < 0 ? scale.expand({options.channels}).contiguous() : scale;
}

}  // namespace

Tensor quantize(const Tensor& x, const Tensor& scale, const Tensor& zero_point, int64_t axis,
                numerics::IntFormat format) {
  using Signature = Tensor(const Tensor&, const Tensor&, const Tensor&, int64_t, int64_t, int64_t);
  static const auto op = find<Signature>("qat_ext::quantize");
  return op.call(x, scale, zero_point, axis, format.quant_min(), format.quant_max());
}

QuantizedWeight quantize_weight(const Tensor& weight, const PlainWeight& options) {
  using Signature =
      std::tuple<Tensor, Tensor>(const Tensor&, int64_t, int64_t, int64_t, bool, bool);
  static const auto op = find<Signature>("qat_ext::quantize_weight");
  const auto [codes, scale] = op.call(weight, options.axis, options.groups, options.format.bits,
                                      options.format.narrow, options.power_of_two);
  return {codes, per_channel(scale, options)};
}

std::vector<QuantizedWeight> quantize_weights(const std::vector<Tensor>& weights,
                                              const std::vector<PlainWeight>& options) {
  using Signature = std::tuple<std::vector<Tensor>, std::vector<Tensor>>(
      at::TensorList, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, const c10::List<bool>&,
      const c10::List<bool>&);
  static const auto op = find<Signature>("qat_ext::quantize_weights");
  std::vector<int64_t> axis, groups, bits;
  c10::List<bool> narrow, power_of_two;
  for (const PlainWeight& each : options) {
    axis.push_back(each.axis);
    groups.push_back(each.groups);
    bits.push_back(each.format.bits);
    narrow.push_back(each.format.narrow);
    power_of_two.push_back(each.power_of_two);
  }
  const auto [codes, scales] = op.call(weights, axis, groups, bits, narrow, power_of_two);
  std::vector<QuantizedWeight> made;
  for (size_t i = 0; i < codes.size(); ++i) {
    made.push_back({codes[i], per_channel(scales[i], options[i])});
  }
  return made;
}

LearnedGradients fake_quantize_learned_backward(const Tensor& grad, const Tensor& x,
                                                const Tensor& scale, const Tensor& zero_point,
                                                int64_t axis, numerics::IntFormat format,
                                                bool clipped_only) {
  using Signature =
      std::tuple<Tensor, Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                                         int64_t, int64_t, int64_t, double, bool);
  static const auto op = find<Signature>("qat_ext::fake_quantize_learned_backward");
  auto [d_x, d_scale, d_zero_point] = op.call(grad, x, scale, zero_point, axis, format.quant_min(),
                                              format.quant_max(), 1.0, clipped_only);
  return {d_x, d_scale, d_zero_point};
}

Tensor fake_quantize_backward(const Tensor& grad, const Tensor& x, const Tensor& scale,
                              const Tensor& zero_point, int64_t axis, numerics::IntFormat format) {
  using Signature =
      Tensor(const Tensor&, const Tensor&, const Tensor&, const Tensor&, int64_t, int64_t, int64_t);
  static const auto op = find<Signature>("qat_ext::fake_quantize_backward");
  return op.call(grad, x, scale, zero_point, axis, format.quant_min(), format.quant_max());
}

}  // namespace qat::quantizers::call
