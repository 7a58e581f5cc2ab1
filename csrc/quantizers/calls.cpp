#include "quantizers/calls.h"

#include <ATen/core/dispatch/Dispatcher.h>

namespace qat::quantizers::call {
namespace {

using at::Tensor;

template <typename Signature>
auto find(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

}  // namespace

Tensor quantize(const Tensor& x, const Tensor& scale, const Tensor& zero_point, int64_t axis,
                numerics::IntFormat format) {
  using Signature = Tensor(const Tensor&, const Tensor&, const Tensor&, int64_t, int64_t, int64_t);
  static const auto op = find<Signature>("qat_ext::quantize");
  return op.call(x, scale, zero_point, axis, format.quant_min(), format.quant_max());
}

std::tuple<Tensor, Tensor> quantize_weight(const Tensor& weight, int64_t axis, int64_t groups,
                                           numerics::IntFormat format, bool power_of_two) {
  using Signature =
      std::tuple<Tensor, Tensor>(const Tensor&, int64_t, int64_t, int64_t, bool, bool);
  static const auto op = find<Signature>("qat_ext::quantize_weight");
  return op.call(weight, axis, groups, format.bits, format.narrow, power_of_two);
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
