// Convolutions and linear layers: integer accumulators forward, float32 gradients backward. Only
// the codes are kept for backward.

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "insert/float_layers.h"
#include "insert/nodes_common.h"
#include "insert/ops_calls.h"
#include "numerics/arith.h"

namespace qat::insert {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// Of a layer's result, what is not in its accumulator.
struct LayerOutput {
  int64_t axis;
  bool channels_last;
  SavedValue save;
  const ConvGeometry* geometry;  // nullptr: a linear layer
};

// m[c] of rule 7.
at::Tensor real_scale(const at::Tensor& weight_scale, float input_scale) {
  const at::Tensor from = weight_scale.contiguous();
  const at::Tensor multiplier = at::empty(from.sizes(), from.options());
  const auto* scale = from.const_data_ptr<float>();
  auto* to = multiplier.mutable_data_ptr<float>();
  for (int64_t c = 0; c < from.numel(); ++c) to[c] = numerics::mul(scale[c], input_scale);
  return multiplier;
}

at::Tensor layer_output(const at::Tensor& acc, const at::Tensor& input, const QuantizedWeight& w,
                        const OptionalTensor& bias, const LayerOutput& output) {
  auto payload = std::make_shared<Payload>();
  Chain chain;
  chain.acc = acc;
  chain.multiplier = real_scale(w.scale, payload_of(input)->codes->params.scale);
  if (bias) chain.bias = bias->detach();
  chain.axis = output.axis;
  chain.save = output.save;
  if (output.save == SavedValue::recompute) {
    const Codes& codes = *payload_of(input)->codes;
    chain.layer = LayerSource{codes.codes, w.codes, codes.params.zero_point, {}};
    if (output.geometry != nullptr) chain.layer->geometry = *output.geometry;
  }
  payload->chain = std::move(chain);
  return make_like(std::move(payload), Nominal::dense(acc.sizes(), output.channels_last),
                   input.device());
}

at::Tensor accumulate(const Codes& input, const at::Tensor& weight, const ConvGeometry* geometry,
                      const NumericsRecipe& numerics) {
  if (numerics.forward == ForwardType::float32) {
    const auto copy = geometry != nullptr ? std::optional(*geometry) : std::nullopt;
    return accumulate_float(input, weight, copy);
  }
  return geometry != nullptr ? call::conv_int(input, weight, *geometry)
                             : call::linear_int(input, weight);
}

at::Tensor conv_forward(const at::Tensor& input, const QuantizedWeight& w,
                        const OptionalTensor& bias, const ConvGeometry& geometry,
                        const NumericsRecipe& numerics, bool channels_last) {
  const at::Tensor acc = accumulate(*payload_of(input)->codes, w.codes, &geometry, numerics);
  return layer_output(acc, input, w, bias, {1, channels_last, numerics.save, &geometry});
}

at::Tensor linear_forward(const at::Tensor& input, const QuantizedWeight& w,
                          const OptionalTensor& bias, const NumericsRecipe& numerics) {
  const at::Tensor acc = accumulate(*payload_of(input)->codes, w.codes, nullptr, numerics);
  return layer_output(acc, input, w, bias, {acc.dim() - 1, false, numerics.save, nullptr});
}

// Which of a layer's gradients somebody wants.
// AutogradContext::needs_input_grad counts edges, and an absent bias has none.
struct Wanted {
  bool input, weight, bias;
};

Wanted wanted_of(const at::Tensor& input, const at::Tensor& weight, const OptionalTensor& bias) {
  return {input.requires_grad(), weight.requires_grad(), bias && bias->requires_grad()};
}

// What backward needs beside the saved tensors.
struct LayerBackward {
  Wanted wanted;
  GradientType products;
  ConvGeometry geometry;  // of a convolution
};

void save_layer(AutogradContext* ctx, const at::Tensor& input, const QuantizedWeight& w,
                LayerBackward layer) {
  ctx->saved_data["layer"] = Held<LayerBackward>::hold(std::move(layer));
  const Codes& codes = *payload_of(input)->codes;
  ctx->save_for_backward({codes.codes, codes.scale, codes.zero_point, w.codes, w.scale});
}

Codes saved_codes(const variable_list& saved) { return {saved[0], {}, {}, saved[1], saved[2]}; }

// Rows as the positions of an image: a linear layer is a 1x1 convolution.
at::Tensor as_image(const at::Tensor& rows) {
  return rows.view({1, rows.size(0), 1, rows.size(1)}).permute({0, 3, 1, 2});
}

at::Tensor as_rows(const at::Tensor& image) { return image.permute({0, 2, 3, 1}).flatten(0, 2); }

struct LinearGradients {
  at::Tensor input, weight;
};

LinearGradients linear_backward(const variable_list& saved, const at::Tensor& rows,
                                const Wanted& wanted, GradientType products) {
  static const ConvGeometry pointwise{{1, 1}, {0, 0}, {1, 1}, {0, 0}};
  const at::Tensor& weight = saved[3];
  if (rows.numel() == 0) {
    return {at::zeros({rows.size(0), weight.size(1)}, rows.options()),
            at::zeros(weight.sizes(), rows.options())};
  }
  Codes codes = saved_codes(saved);
  codes.codes = as_image(codes.codes.reshape({rows.size(0), weight.size(1)}));
  const QuantizedWeight kernel{weight.view({weight.size(0), weight.size(1), 1, 1}), saved[4]};
  const auto [d_input, d_weight] = call::conv_int_backward(
      as_image(rows.contiguous()), codes, kernel, pointwise, products, wanted.input, wanted.weight);
  return {wanted.input ? as_rows(d_input) : at::Tensor(),
          wanted.weight ? d_weight.view(weight.sizes()) : at::Tensor()};
}

struct ConvNode : Function<ConvNode> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weight,
                            const OptionalTensor& bias, const QuantizedWeight& codes,
                            const ConvGeometry& geometry, const NumericsRecipe& numerics,
                            bool channels_last) {
    save_layer(ctx, input, codes, {wanted_of(input, weight, bias), numerics.backward, geometry});
    return conv_forward(input, codes, bias, geometry, numerics, channels_last);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    require_first_order();
    const auto saved = ctx->get_saved_variables();
    const auto& layer = Held<LayerBackward>::get(ctx->saved_data["layer"]);
    const Wanted& wanted = layer.wanted;
    auto [d_input, d_weight] =
        call::conv_int_backward(grads[0], saved_codes(saved), {saved[3], saved[4]}, layer.geometry,
                                layer.products, wanted.input, wanted.weight);
    if (!wanted.input) d_input = at::Tensor();
    if (!wanted.weight) d_weight = at::Tensor();
    at::Tensor d_bias;
    if (wanted.bias) d_bias = grads[0].flatten(2).sum(at::IntArrayRef({0, 2}));
    return {d_input, d_weight, d_bias, {}, {}, {}, {}};
  }
};

struct LinearNode : Function<LinearNode> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weight,
                            const OptionalTensor& bias, const QuantizedWeight& codes,
                            const NumericsRecipe& numerics) {
    save_layer(ctx, input, codes, {wanted_of(input, weight, bias), numerics.backward, {}});
    return linear_forward(input, codes, bias, numerics);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    require_first_order();
    const auto saved = ctx->get_saved_variables();
    const auto& [wanted, products, geometry] = Held<LayerBackward>::get(ctx->saved_data["layer"]);
    const at::Tensor& grad = grads[0];
    const int64_t count = grad.numel() / std::max<int64_t>(1, grad.size(-1));
    const at::Tensor rows = grad.reshape({count, grad.size(-1)});
    auto [d_input, d_weight] = linear_backward(saved, rows, wanted, products);
    if (wanted.input) d_input = d_input.view(saved[0].sizes());
    at::Tensor d_bias;
    if (wanted.bias) d_bias = rows.sum(0);
    return {d_input, d_weight, d_bias, {}, {}};
  }
};

}  // namespace

at::Tensor conv_int(const at::Tensor& input, const at::Tensor& weight, const QuantizedWeight& codes,
                    const at::Tensor& bias, const ConvGeometry& geometry,
                    const NumericsRecipe& numerics) {
  const auto is_channels_last = [](const at::Tensor& t) {
    return t.suggest_memory_format() != at::MemoryFormat::Contiguous;
  };
  const bool channels_last = is_channels_last(input) || is_channels_last(codes.codes);
  if (!needs_node({&input, &weight, &bias})) {
    const at::NoGradGuard no_grad;
    return conv_forward(input, codes, optional(bias), geometry, numerics, channels_last);
  }
  return ConvNode::apply(input, weight, optional(bias), codes, geometry, numerics, channels_last);
}

at::Tensor linear_int(const at::Tensor& input, const at::Tensor& weight,
                      const QuantizedWeight& codes, const at::Tensor& bias,
                      const NumericsRecipe& numerics) {
  if (!needs_node({&input, &weight, &bias})) {
    const at::NoGradGuard no_grad;
    return linear_forward(input, codes, optional(bias), numerics);
  }
  return LinearNode::apply(input, weight, optional(bias), codes, numerics);
}

}  // namespace qat::insert
