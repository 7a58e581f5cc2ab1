// Convolutions and linear layers: integer accumulators forward, float32 gradients backward.
// Backward rebuilds x_hat and w_hat from their codes; only the codes are kept.

#include <ATen/TensorOperators.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/mm.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "insert/nodes_common.h"
#include "insert/ops_calls.h"

namespace qat::insert {
namespace {

using OptionalTensor = std::optional<at::Tensor>;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

OptionalTensor optional(const at::Tensor& tensor) {
  return tensor.defined() ? OptionalTensor(tensor) : std::nullopt;
}

at::Tensor layer_output(const at::Tensor& acc, const at::Tensor& input, const QuantizedWeight& w,
                        const OptionalTensor& bias, int64_t axis, const Nominal& nominal) {
  auto payload = std::make_shared<Payload>();
  Chain chain;
  chain.acc = acc;
  // One rounding per channel: scale_x is a float32 already.
  chain.multiplier = w.scale * payload_of(input)->codes->params.scale;
  if (bias) chain.bias = bias->detach();
  chain.axis = axis;
  payload->chain = std::move(chain);
  return make_like(std::move(payload), nominal, input.device());
}

// Which of a layer's gradients somebody wants. AutogradContext::needs_input_grad counts edges, and
// an absent bias has none.
struct Wanted {
  bool input, weight, bias;
};

void save_layer(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weight,
                const OptionalTensor& bias, const QuantizedWeight& w) {
  ctx->saved_data["wanted"] = Held<Wanted>::hold(
      {input.requires_grad(), weight.requires_grad(), bias && bias->requires_grad()});
  const Codes& codes = *payload_of(input)->codes;
  ctx->save_for_backward({codes.codes, codes.scale, codes.zero_point, w.codes, w.scale});
}

// x_hat of the saved input codes.
at::Tensor saved_input(const variable_list& saved) {
  return call::dequantize(Codes{saved[0], {}, {}, saved[1], saved[2]});
}

// w_hat = codes * scale; the output channel of a transposed weight is (group, column).
at::Tensor saved_weight(const variable_list& saved, const ConvGeometry* geometry) {
  const at::Tensor& codes = saved[3];
  const at::Tensor& scale = saved[4];
  // Gradients and x_hat are channels-last; a weight in the same layout spares oneDNN two copies of
  // it (23 of 230 ms in a ResNet-18 step).
  // A 1x1 kernel is in both layouts at once and takes the strides of the plain one.
  const bool image = codes.dim() == 4 && codes.size(2) * codes.size(3) > 1 &&
                     (geometry == nullptr || !geometry->transposed);
  const at::Tensor real =
      codes.to(codes.options().dtype(at::kFloat), false, false,
               image ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
  if (geometry == nullptr || !geometry->transposed) {
    std::vector<int64_t> shape(codes.dim(), 1);
    shape[0] = scale.numel();
    return real * scale.view(shape);
  }
  const int64_t groups = geometry->groups;
  auto split = codes.sizes().vec();
  split[0] /= groups;
  split.insert(split.begin(), groups);
  std::vector<int64_t> shape(split.size(), 1);
  if (scale.numel() > 1) {
    shape[0] = groups;
    shape[2] = split[2];
  }
  return (real.view(split) * scale.view(shape)).view(codes.sizes());
}

// oneDNN's weight gradient of a strided 1x1 convolution writes out of bounds for channels-last
// operands of 6 or 8 channels (torch 2.13, without this library as well).
bool strided_pointwise(const at::Tensor& weight, const ConvGeometry& g) {
  const auto one = [](int64_t size) { return size == 1; };
  return std::all_of(weight.sizes().begin() + 2, weight.sizes().end(), one) &&
         !std::all_of(g.stride.begin(), g.stride.end(), one);
}

struct ConvNode : Function<ConvNode> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weight,
                            const OptionalTensor& bias, const QuantizedWeight& codes,
                            const ConvGeometry& geometry, bool channels_last) {
    save_layer(ctx, input, weight, bias, codes);
    ctx->saved_data["geometry"] = Held<ConvGeometry>::hold(geometry);
    const at::Tensor acc = call::conv_int(*payload_of(input)->codes, codes.codes, geometry);
    return layer_output(acc, input, codes, bias, 1, Nominal::dense(acc.sizes(), channels_last));
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const auto& g = Held<ConvGeometry>::get(ctx->saved_data["geometry"]);
    const auto& wanted = Held<Wanted>::get(ctx->saved_data["wanted"]);
    const int64_t channels = grads[0].size(1);
    at::Tensor input = saved_input(saved), weight = saved_weight(saved, &g);
    if (strided_pointwise(weight, g)) {
      input = input.contiguous();
      weight = weight.contiguous();
    }
    auto [d_input, d_weight, d_bias] = at::convolution_backward(
        grads[0], input, weight, at::IntArrayRef({channels}), g.stride, g.padding, g.dilation,
        g.transposed, g.output_padding, g.groups, {wanted.input, wanted.weight, wanted.bias});
    return {d_input, d_weight, d_bias, {}, {}, {}};
  }
};

struct LinearNode : Function<LinearNode> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weight,
                            const OptionalTensor& bias, const QuantizedWeight& codes) {
    save_layer(ctx, input, weight, bias, codes);
    const at::Tensor acc = call::linear_int(*payload_of(input)->codes, codes.codes);
    return layer_output(acc, input, codes, bias, acc.dim() - 1, Nominal::dense(acc.sizes(), false));
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const auto& wanted = Held<Wanted>::get(ctx->saved_data["wanted"]);
    const at::Tensor& grad = grads[0];
    const at::Tensor rows = grad.reshape({-1, grad.size(-1)});
    at::Tensor d_input, d_weight, d_bias;
    if (wanted.input) {
      d_input = at::mm(rows, saved_weight(saved, nullptr)).view(saved[0].sizes());
    }
    if (wanted.weight) {
      d_weight = at::mm(rows.t(), saved_input(saved).reshape({rows.size(0), -1}));
    }
    if (wanted.bias) d_bias = rows.sum(0);
    return {d_input, d_weight, d_bias, {}};
  }
};

}  // namespace

at::Tensor conv_int(const at::Tensor& input, const at::Tensor& weight, const QuantizedWeight& codes,
                    const at::Tensor& bias, const ConvGeometry& geometry) {
  const auto is_channels_last = [](const at::Tensor& t) {
    return t.suggest_memory_format() != at::MemoryFormat::Contiguous;
  };
  const bool channels_last = is_channels_last(input) || is_channels_last(weight);
  return ConvNode::apply(input, weight, optional(bias), codes, geometry, channels_last);
}

at::Tensor linear_int(const at::Tensor& input, const at::Tensor& weight,
                      const QuantizedWeight& codes, const at::Tensor& bias) {
  return LinearNode::apply(input, weight, optional(bias), codes);
}

}  // namespace qat::insert
