// Convolutions and linear layers: integer accumulators forward, float32 gradients backward. Only
// the codes are kept for backward.

#include <ATen/EmptyTensor.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "insert/float_layers.h"
#include "insert/gradient_node.h"
#include "insert/nodes_common.h"
#include "insert/ops_calls.h"
#include "numerics/arith.h"

namespace qat::insert {
namespace {

// The operands of a layer's node, in the order of its gradients.
enum LayerOperand : size_t { kInput, kWeight, kBias };

// Of a layer's result, what is not in its accumulator.
struct LayerOutput {
  int64_t axis;
  bool channels_last;
  SavedValue save;
  SharedGeometry geometry;  // nullptr: a linear layer
};

// m[c] of rule 7.
at::Tensor real_scale(const at::Tensor& weight_scale, float input_scale) {
  const at::Tensor from = weight_scale.contiguous();
  const at::Tensor multiplier = at::detail::empty_cpu(from.sizes(), at::kFloat);
  const auto* scale = from.const_data_ptr<float>();
  auto* to = multiplier.mutable_data_ptr<float>();
  for (int64_t c = 0; c < from.numel(); ++c) to[c] = numerics::mul(scale[c], input_scale);
  return multiplier;
}

at::Tensor layer_output(const at::Tensor& acc, const at::Tensor& input, const QuantizedWeight& w,
                        const at::Tensor& bias, const LayerOutput& output) {
  auto payload = std::make_shared<Payload>();
  Chain chain;
  chain.acc = acc;
  chain.multiplier = real_scale(w.scale, payload_of(input)->codes->params.scale);
  if (bias.defined()) chain.bias = bias.detach();
  chain.axis = output.axis;
  chain.save = output.save;
  if (output.save == SavedValue::recompute) {
    const Codes& codes = *payload_of(input)->codes;
    chain.layer = LayerSource{codes.codes, w.codes, codes.params.zero_point, output.geometry};
  }
  payload->chain = std::move(chain);
  return make_like(std::move(payload), Nominal::dense(acc.sizes(), output.channels_last),
                   input.device());
}

at::Tensor accumulate(const Codes& input, const at::Tensor& weight, const ConvGeometry* geometry,
                      const NumericsRecipe& numerics) {
  if (numerics.forward == ForwardType::float32) return accumulate_float(input, weight, geometry);
  return geometry != nullptr ? call::conv_int(input, weight, *geometry)
                             : call::linear_int(input, weight);
}

at::Tensor conv_forward(const at::Tensor& input, const QuantizedWeight& w, const at::Tensor& bias,
                        const SharedGeometry& geometry, const NumericsRecipe& numerics,
                        bool channels_last) {
  const at::Tensor acc = accumulate(*payload_of(input)->codes, w.codes, geometry.get(), numerics);
  return layer_output(acc, input, w, bias, {1, channels_last, numerics.save, geometry});
}

at::Tensor linear_forward(const at::Tensor& input, const QuantizedWeight& w, const at::Tensor& bias,
                          const NumericsRecipe& numerics) {
  const at::Tensor acc = accumulate(*payload_of(input)->codes, w.codes, nullptr, numerics);
  return layer_output(acc, input, w, bias, {acc.dim() - 1, false, numerics.save, nullptr});
}

// Rows as the positions of an image: a linear layer is a 1x1 convolution.
at::Tensor as_image(const at::Tensor& rows) {
  return rows.view({1, rows.size(0), 1, rows.size(1)}).permute({0, 3, 1, 2});
}

at::Tensor as_rows(const at::Tensor& image) { return image.permute({0, 2, 3, 1}).flatten(0, 2); }

// What both layers keep.
struct LayerKept {
  Codes input;
  QuantizedWeight weight;
  GradientType products;
  template <typename F>
  void tensors(F&& f) {
    visit_tensors(input, f);
    f(weight.codes), f(weight.scale);
  }
};

struct ConvDerivative : LayerKept {
  static constexpr const char* kName = "qat_ext::ConvBackward";
  SharedGeometry geometry;
  variable_list operator()(const variable_list& grads, const Wanted& wanted) const {
    const at::Tensor& grad = grads[0];
    auto [d_input, d_weight] = call::conv_int_backward(grad, input, weight, *geometry, products,
                                                       wanted(kInput), wanted(kWeight));
    if (!wanted(kInput)) d_input = at::Tensor();
    if (!wanted(kWeight)) d_weight = at::Tensor();
    at::Tensor d_bias;
    if (wanted(kBias)) d_bias = grad.flatten(2).sum(at::IntArrayRef({0, 2}));
    return {d_input, d_weight, d_bias};
  }
};

struct LinearDerivative : LayerKept {
  static constexpr const char* kName = "qat_ext::LinearBackward";
  variable_list operator()(const variable_list& grads, const Wanted& wanted) const {
    const at::Tensor& grad = grads[0];
    const int64_t count = grad.numel() / std::max<int64_t>(1, grad.size(-1));
    const at::Tensor rows = grad.reshape({count, grad.size(-1)});
    auto [d_input, d_weight] = of_rows(rows, wanted(kInput), wanted(kWeight));
    if (wanted(kInput)) d_input = d_input.view(input.codes.sizes());
    at::Tensor d_bias;
    if (wanted(kBias)) d_bias = rows.sum(0);
    return {d_input, d_weight, d_bias};
  }

 private:
  std::pair<at::Tensor, at::Tensor> of_rows(const at::Tensor& rows, bool of_input,
                                            bool of_weight) const {
    static const ConvGeometry pointwise{{1, 1}, {0, 0}, {1, 1}, {0, 0}};
    const int64_t outputs = weight.codes.size(0), inputs = weight.codes.size(1);
    if (rows.numel() == 0) {
      return {at::zeros({rows.size(0), inputs}, rows.options()),
              at::zeros(weight.codes.sizes(), rows.options())};
    }
    const Codes image = with_codes(input, as_image(input.codes.reshape({rows.size(0), inputs})));
    const QuantizedWeight kernel{weight.codes.view({outputs, inputs, 1, 1}), weight.scale};
    const auto [d_input, d_weight] = call::conv_int_backward(
        as_image(rows.contiguous()), image, kernel, pointwise, products, of_input, of_weight);
    return {of_input ? as_rows(d_input) : at::Tensor(),
            of_weight ? d_weight.view(weight.codes.sizes()) : at::Tensor()};
  }
};

LayerKept kept_layer(const at::Tensor& input, const QuantizedWeight& weight,
                     const NumericsRecipe& numerics) {
  return {*payload_of(input)->codes, weight, numerics.backward};
}

}  // namespace

at::Tensor conv_int(const at::Tensor& input, const at::Tensor& weight, const QuantizedWeight& codes,
                    const at::Tensor& bias, const SharedGeometry& geometry,
                    const NumericsRecipe& numerics) {
  const auto is_channels_last = [](const at::Tensor& t) {
    return t.suggest_memory_format() != at::MemoryFormat::Contiguous;
  };
  const bool channels_last = is_channels_last(input) || is_channels_last(codes.codes);
  const bool recorded = wants_gradient({&input, &weight, &bias});
  const at::NoGradGuard no_grad;
  const at::Tensor result = conv_forward(input, codes, bias, geometry, numerics, channels_last);
  if (!recorded) return result;
  return attached(result, ConvDerivative{kept_layer(input, codes, numerics), geometry},
                  {&input, &weight, &bias});
}

at::Tensor linear_int(const at::Tensor& input, const at::Tensor& weight,
                      const QuantizedWeight& codes, const at::Tensor& bias,
                      const NumericsRecipe& numerics) {
  const bool recorded = wants_gradient({&input, &weight, &bias});
  const at::NoGradGuard no_grad;
  const at::Tensor result = linear_forward(input, codes, bias, numerics);
  if (!recorded) return result;
  return attached(result, LinearDerivative{kept_layer(input, codes, numerics)},
                  {&input, &weight, &bias});
}

}  // namespace qat::insert
