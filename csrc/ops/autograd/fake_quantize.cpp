#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

namespace qat::ops {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

Tensor call_forward(const Tensor& x, const Tensor& scale, const Tensor& zero_point, int64_t axis,
                    int64_t quant_min, int64_t quant_max) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("qat_ext::fake_quantize", "")
          .typed<Tensor(const Tensor&, const Tensor&, const Tensor&, int64_t, int64_t, int64_t)>();
  return op.call(x, scale, zero_point, axis, quant_min, quant_max);
}

Tensor call_backward(const Tensor& grad, const Tensor& x, const Tensor& scale,
                     const Tensor& zero_point, const std::vector<int64_t>& integers) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("qat_ext::fake_quantize_backward", "")
                             .typed<Tensor(const Tensor&, const Tensor&, const Tensor&,
                                           const Tensor&, int64_t, int64_t, int64_t)>();
  return op.call(grad, x, scale, zero_point, integers[0], integers[1], integers[2]);
}

// Straight through: the gradient of x where its code was not clipped; none for scale and
// zero_point.
struct FakeQuantize : torch::autograd::Function<FakeQuantize> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& scale,
                        const Tensor& zero_point, int64_t axis, int64_t quant_min,
                        int64_t quant_max) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    context->save_for_backward({x, scale, zero_point});
    context->saved_data["integers"] = std::vector<int64_t>{axis, quant_min, quant_max};
    return call_forward(x, scale, zero_point, axis, quant_min, quant_max);
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto saved = context->get_saved_variables();
    const auto integers = context->saved_data["integers"].toIntVector();
    return {call_backward(grads[0], saved[0], saved[1], saved[2], integers), {}, {}, {}, {}, {}};
  }
};

Tensor fake_quantize(const Tensor& x, const Tensor& scale, const Tensor& zero_point, int64_t axis,
                     int64_t quant_min, int64_t quant_max) {
  return FakeQuantize::apply(x, scale, zero_point, axis, quant_min, quant_max);
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, Autograd, m) { m.impl("fake_quantize", &fake_quantize); }

}  // namespace qat::ops
