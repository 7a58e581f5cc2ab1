#include "quantizers/weight_common.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/floor.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/rand_like.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>

#include "numerics/qparams.h"
#include "quantizers/calls.h"

namespace qat::quantizers {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// A weight as an operator with one scale per index of `axis` takes it.
struct ChannelView {
  at::Tensor tensor;
  int64_t axis;
};

// The channels of a grouped transposed convolution lie on two axes.
bool regrouped(const WeightShape& shape) { return shape.axis == 1 && shape.groups > 1; }

at::Tensor swap_groups(const at::Tensor& weight, int64_t groups) {
  return weight.unflatten(0, {groups, -1}).transpose(1, 2).flatten(0, 1);
}

ChannelView view_of(const at::Tensor& weight, const WeightShape& shape) {
  if (regrouped(shape)) return {swap_groups(weight, shape.groups), 0};
  return {weight, shape.axis};
}

at::Tensor back(const at::Tensor& tensor, const WeightShape& shape) {
  return regrouped(shape) ? swap_groups(tensor, shape.groups) : tensor;
}

at::Tensor no_zero_point(const at::Tensor& scale, at::ScalarType type) {
  return at::zeros_like(scale, scale.options().dtype(type));
}

std::vector<int64_t> all_axes_but(int64_t kept, int64_t rank) {
  std::vector<int64_t> axes;
  for (int64_t axis = 0; axis < rank; ++axis) {
    if (axis != kept) axes.push_back(axis);
  }
  return axes;
}

struct Problem {
  WeightShape shape;
  numerics::IntFormat format;
};

struct HeldProblem final : torch::CustomClassHolder {
  explicit HeldProblem(Problem p) : problem(std::move(p)) {}
  Problem problem;
};

// A tensor without memory of its own: nobody reads its values.
at::Tensor placeholder(const at::Tensor& weight) {
  return at::zeros({}, weight.options()).expand(weight.sizes());
}

struct LearnedWeight : torch::autograd::Function<LearnedWeight> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& weight,
                            const std::optional<at::Tensor>& edge, const at::Tensor& scale,
                            const Problem& problem) {
    ctx->save_for_backward({weight, scale});
    ctx->saved_data["problem"] =
        c10::IValue::make_capsule(c10::make_intrusive<HeldProblem>(problem));
    ctx->saved_data["learned"] = edge.has_value();
    ctx->saved_data["channels"] = edge ? edge->numel() : 0;
    return placeholder(weight);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const Problem& problem =
        static_cast<const HeldProblem*>(ctx->saved_data["problem"].toCapsule().get())->problem;
    const auto [weight, axis] = view_of(saved[0], problem.shape);
    const at::Tensor grad = view_of(grads[0], problem.shape).tensor;
    const at::Tensor& scale = saved[1];
    if (!ctx->saved_data["learned"].toBool()) {
      const at::Tensor masked = call::fake_quantize_backward(
          grad, weight, scale, no_zero_point(scale, at::kInt), axis, problem.format);
      return {back(masked, problem.shape), {}, {}, {}};
    }
    auto gradients = call::fake_quantize_learned_backward(
        grad, weight, scale, no_zero_point(scale, at::kFloat), axis, problem.format);
    const bool shared = ctx->saved_data["channels"].toInt() == 1 && scale.numel() != 1;
    if (shared) gradients.scale = gradients.scale.sum().reshape({1});
    return {back(gradients.x, problem.shape), gradients.scale, {}, {}};
  }
};

}  // namespace

at::Tensor channel_absmax(const at::Tensor& weight, const WeightShape& shape) {
  const auto [tensor, axis] = view_of(weight.detach().abs(), shape);
  return at::amax(tensor, all_axes_but(axis, tensor.dim()));
}

at::Tensor channel_mean_magnitude(const at::Tensor& weight, const WeightShape& shape) {
  const auto [tensor, axis] = view_of(weight.detach().abs(), shape);
  return at::mean(tensor, all_axes_but(axis, tensor.dim()));
}

at::Tensor channel_rows(const at::Tensor& weight, const WeightShape& shape) {
  const auto [tensor, axis] = view_of(weight, shape);
  return tensor.movedim(axis, 0).to(at::kFloat).flatten(1).contiguous();
}

at::Tensor from_channel_rows(const at::Tensor& rows, const WeightShape& shape) {
  std::vector<int64_t> sizes = shape.sizes;
  if (regrouped(shape)) {
    sizes[0] = shape.channels();
    sizes[1] = shape.sizes[0] / shape.groups;
  } else {
    std::swap(sizes[0], sizes[static_cast<size_t>(shape.axis)]);
  }
  const at::Tensor shaped = rows.reshape(sizes);
  return regrouped(shape) ? back(shaped, shape) : shaped.movedim(0, shape.axis);
}

at::Tensor spread(const at::Tensor& per_channel, const WeightShape& shape) {
  std::vector<int64_t> sizes(shape.sizes.size(), 1);
  if (regrouped(shape)) {
    // [groups * columns] -> [in, columns, 1, ...]
    sizes[0] = shape.groups;
    sizes[1] = shape.sizes[1];
    return per_channel.reshape(sizes).repeat_interleave(shape.sizes[0] / shape.groups, 0);
  }
  sizes[shape.axis] = -1;
  return per_channel.reshape(sizes);
}

at::Tensor codes_of(const at::Tensor& weight, const at::Tensor& scale, const WeightShape& shape,
                    numerics::IntFormat format) {
  const auto [tensor, axis] = view_of(weight.detach(), shape);
  return back(call::quantize(tensor, scale, no_zero_point(scale, at::kInt), axis, format), shape);
}

at::Tensor stochastic_codes(const at::Tensor& weight, const at::Tensor& scale,
                            const WeightShape& shape, numerics::IntFormat format) {
  const at::Tensor steps = weight.detach() * spread(1.0 / scale, shape);
  const at::Tensor rounded = at::floor(steps + at::rand_like(steps));
  return rounded.clamp(format.quant_min(), format.quant_max()).nan_to_num(0.0).to(at::kChar);
}

// Codes at a step 2^(8 - bits) times finer, on which those of the wanted width are multiples: the
// layer still computes in integers.
QuantizedWeight noisy_weight(const at::Tensor& weight, const at::Tensor& scale,
                             const WeightShape& shape, const WeightRecipe& recipe) {
  const int64_t ratio = int64_t{1} << (numerics::kInt8.bits - recipe.bits);
  const at::Tensor fine_scale = scale / static_cast<double>(ratio);  // exact
  const at::Tensor coarse = codes_of(weight, scale, shape, recipe.format()) * ratio;
  const at::Tensor fine = codes_of(weight, fine_scale, shape, numerics::kInt8);
  const at::Tensor kept = at::rand_like(weight) < recipe.noise;
  return {at::where(kept, fine, coarse), fine_scale};
}

QuantizedWeight rounded_weight(const at::Tensor& weight, const at::Tensor& scale,
                               const WeightShape& shape, const WeightRecipe& recipe,
                               WeightMode mode) {
  if (mode.learn && recipe.rounding == Rounding::stochastic) {
    return {stochastic_codes(weight, scale, shape, recipe.format()), scale};
  }
  if (mode.learn && recipe.noise > 0.0) {
    return noisy_weight(weight.detach(), scale, shape, recipe);
  }
  return {codes_of(weight, scale, shape, recipe.format()), scale};
}

std::string narrowing_obstacle(const WeightRecipe& recipe) {
  if (recipe.noise == 0.0) return {};
  if (recipe.bits == 8) return "keeps a share at 8 bits by noise; expected bits below 8";
  if (recipe.rounding == Rounding::stochastic)
    return "takes noise or stochastic rounding, not both";
  return {};
}

std::string rounding_obstacle(const WeightRecipe& recipe) {
  if (recipe.rounding == Rounding::stochastic) return "rounds to nearest only";
  if (recipe.noise > 0.0) return "takes no noise";
  return {};
}

at::Tensor learned_weight(const at::Tensor& weight, const at::Tensor& edge, const at::Tensor& scale,
                          const WeightShape& shape, numerics::IntFormat format) {
  return LearnedWeight::apply(weight, std::optional<at::Tensor>(edge), scale,
                              Problem{shape, format});
}

at::Tensor masked_weight(const at::Tensor& weight, const at::Tensor& scale,
                         const WeightShape& shape, numerics::IntFormat format) {
  return LearnedWeight::apply(weight, std::optional<at::Tensor>(), scale, Problem{shape, format});
}

WeightRecipe in_stage(WeightRecipe recipe, WeightMode mode) {
  return mode.lowest_bits > recipe.bits ? recipe.with_bits(mode.lowest_bits) : recipe;
}

at::Tensor weight_scales(const at::Tensor& absmax, const WeightRecipe& recipe) {
  const at::Tensor from = absmax.contiguous();
  at::Tensor scale = at::empty_like(from);
  for (int64_t c = 0; c < from.numel(); ++c) {
    scale.mutable_data_ptr<float>()[c] = numerics::weight_scale(
        from.const_data_ptr<float>()[c], recipe.format(), recipe.power_of_two);
  }
  return scale;
}

at::Tensor by_granularity(const at::Tensor& absmax, const WeightRecipe& recipe) {
  if (recipe.granularity == Granularity::channel) return absmax;
  return absmax.amax().expand(absmax.sizes()).contiguous();
}

double lsq_gradient_scale(const WeightShape& shape, const WeightRecipe& recipe) {
  double elements = 1;
  for (const int64_t size : shape.sizes) elements *= static_cast<double>(size);
  if (recipe.granularity == Granularity::channel) elements /= static_cast<double>(shape.channels());
  return 1.0 / std::sqrt(elements * recipe.format().quant_max());
}

}  // namespace qat::quantizers
