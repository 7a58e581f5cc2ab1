#include "quantizers/scaled_edge.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>
#include <torch/csrc/autograd/custom_function.h>

#include "numerics/learned.h"

namespace qat::quantizers {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct ScaledEdge : torch::autograd::Function<ScaledEdge> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& parameter,
                            const at::Tensor& value, const at::Tensor& factor) {
    (void)parameter;
    ctx->save_for_backward({factor});
    return value.clone();
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    return {grads[0] * ctx->get_saved_variables()[0], at::Tensor(), at::Tensor()};
  }
};

template <typename Formula>
at::Tensor each(const at::Tensor& x, Formula formula) {
  const at::Tensor from = x.detach().contiguous();
  at::Tensor out = at::empty_like(from);
  const float* source = from.const_data_ptr<float>();
  auto* to = out.mutable_data_ptr<float>();
  for (int64_t i = 0; i < out.numel(); ++i) to[i] = formula(source[i]);
  return out;
}

}  // namespace

at::Tensor scaled_edge(const at::Tensor& parameter, const at::Tensor& value,
                       const at::Tensor& factor) {
  return ScaledEdge::apply(parameter, value, factor);
}

at::Tensor positive_scale(const at::Tensor& parameter) {
  return each(parameter, numerics::positive_scale);
}

at::Tensor positive_scale_slope(const at::Tensor& parameter) {
  return each(parameter, [](float p) { return p < 0.0f ? -1.0f : 1.0f; });
}

at::Tensor power_of_two_scale(const at::Tensor& log2_threshold, float levels) {
  return each(log2_threshold,
              [levels](float log2_of) { return numerics::power_of_two_scale(log2_of, levels); });
}

}  // namespace qat::quantizers
