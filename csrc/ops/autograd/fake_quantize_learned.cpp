#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

namespace qat::ops {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using ThreeTensors = std::tuple<Tensor, Tensor, Tensor>;

struct Options {
  int64_t axis, quant_min, quant_max;
  double grad_scale;
  bool clipped_only;
};

Tensor call_forward(const Tensor& x, const Tensor& scale, const Tensor& zero_point,
                    const Options& o) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("qat_ext::fake_quantize_learned", "")
                             .typed<Tensor(const Tensor&, const Tensor&, const Tensor&, int64_t,
                                           int64_t, int64_t, double, bool)>();
  return op.call(x, scale, zero_point, o.axis, o.quant_min, o.quant_max, o.grad_scale,
                 o.clipped_only);
}

ThreeTensors call_backward(const Tensor& grad, const variable_list& saved, const Options& o) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("qat_ext::fake_quantize_learned_backward", "")
          .typed<ThreeTensors(const Tensor&, const Tensor&, const Tensor&, const Tensor&, int64_t,
                              int64_t, int64_t, double, bool)>();
  return op.call(grad, saved[0], saved[1], saved[2], o.axis, o.quant_min, o.quant_max, o.grad_scale,
                 o.clipped_only);
}

// Gradients of all three tensors, in one pass.
struct FakeQuantizeLearned : torch::autograd::Function<FakeQuantizeLearned> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& scale,
                        const Tensor& zero_point, int64_t axis, int64_t quant_min,
                        int64_t quant_max, double grad_scale, bool clipped_only) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    context->save_for_backward({x, scale, zero_point});
    context->saved_data["integers"] = std::vector<int64_t>{axis, quant_min, quant_max};
    context->saved_data["grad_scale"] = grad_scale;
    context->saved_data["clipped_only"] = clipped_only;
    return call_forward(x, scale, zero_point,
                        {axis, quant_min, quant_max, grad_scale, clipped_only});
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto integers = context->saved_data["integers"].toIntVector();
    const Options options{integers[0], integers[1], integers[2],
                          context->saved_data["grad_scale"].toDouble(),
                          context->saved_data["clipped_only"].toBool()};
    const auto [x, scale, zero_point] =
        call_backward(grads[0], context->get_saved_variables(), options);
    return {x, scale, zero_point, {}, {}, {}, {}, {}};
  }
};

Tensor fake_quantize_learned(const Tensor& x, const Tensor& scale, const Tensor& zero_point,
                             int64_t axis, int64_t quant_min, int64_t quant_max, double grad_scale,
                             bool clipped_only) {
  return FakeQuantizeLearned::apply(x, scale, zero_point, axis, quant_min, quant_max, grad_scale,
                                    clipped_only);
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, Autograd, m) {
  m.impl("fake_quantize_learned", &fake_quantize_learned);
}

}  // namespace qat::ops
