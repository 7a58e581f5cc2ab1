#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/library.h>

#include "ops/find.h"

namespace qat::ops {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Options {
  int64_t axis, quant_min, quant_max;
};

Tensor call_forward(const Tensor& x, const Tensor& scale, const Tensor& zero_point,
                    const Options& o) {
  static const auto op =
      find<Tensor(const Tensor&, const Tensor&, const Tensor&, int64_t, int64_t, int64_t)>(
          "qat_ext::fake_quantize");
  return op.call(x, scale, zero_point, o.axis, o.quant_min, o.quant_max);
}

std::tuple<Tensor, Tensor> call_with_mask(const Tensor& x, const Tensor& scale,
                                          const Tensor& zero_point, const Options& o) {
  static const auto op =
      find<std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&, int64_t, int64_t,
                                      int64_t)>("qat_ext::fake_quantize_with_mask");
  return op.call(x, scale, zero_point, o.axis, o.quant_min, o.quant_max);
}

Tensor call_backward(const Tensor& grad, const Tensor& mask, c10::SymIntArrayRef stride) {
  static const auto op =
      find<Tensor(const Tensor&, const Tensor&, c10::SymIntArrayRef)>("qat_ext::straight_through");
  return op.call(grad, mask, stride);
}

// Straight through: the gradient of x where its code was not clipped; none for scale and
// zero_point. A bit for each element is kept, a 32nd of x.
struct FakeQuantize : torch::autograd::Function<FakeQuantize> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& scale,
                        const Tensor& zero_point, const Options& options) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    const auto [y, mask] = call_with_mask(x, scale, zero_point, options);
    context->save_for_backward({mask});
    context->saved_data["stride"] = y.sym_strides();
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto stride = context->saved_data["stride"].toSymIntVector();
    return {call_backward(grads[0], context->get_saved_variables()[0], stride), {}, {}, {}};
  }
};

Tensor fake_quantize(const Tensor& x, const Tensor& scale, const Tensor& zero_point, int64_t axis,
                     int64_t quant_min, int64_t quant_max) {
  const Options options{axis, quant_min, quant_max};
  using torch::autograd::compute_requires_grad, torch::autograd::isFwGradDefined;
  if (compute_requires_grad(x, scale, zero_point) || isFwGradDefined(x)) {
    return FakeQuantize::apply(x, scale, zero_point, options);
  }
  // A node takes 2 microseconds even where nothing is differentiated.
  const at::AutoDispatchBelowADInplaceOrView guard;
  return call_forward(x, scale, zero_point, options);
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, Autograd, m) { m.impl("fake_quantize", &fake_quantize); }

}  // namespace qat::ops
