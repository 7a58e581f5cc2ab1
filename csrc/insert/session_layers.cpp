// Layers, batch norm, activations, additions: the parts of a chain.

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/add.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/zeros_like.h>

#include "error.h"
#include "insert/batch_norm_terms.h"
#include "insert/compact_chain.h"
#include "insert/ops_calls.h"
#include "insert/session.h"

namespace qat::insert {
namespace {

at::Tensor tensor_argument(const capture::Arguments& arguments, std::string_view name) {
  const auto* value = arguments.find(name);
  return value != nullptr && value->isTensor() ? value->toTensor() : at::Tensor();
}

at::Tensor tensor_argument(const capture::Arguments& arguments, std::optional<size_t> index) {
  return index ? arguments.at(*index).toTensor() : at::Tensor();
}

// running <- (1 - momentum) * running + momentum * factor * batch, rounded once.
void follow(const at::Tensor& running, const at::Tensor& batch, double momentum, double factor) {
  const bool plain = running.scalar_type() == at::kFloat && running.is_contiguous() &&
                     running.numel() == batch.numel();
  if (!plain) {
    running.mul_(1 - momentum).add_(batch, momentum * factor);
    return;
  }
  auto* to = running.mutable_data_ptr<float>();
  const auto* from = batch.const_data_ptr<float>();
  for (int64_t c = 0; c < running.numel(); ++c) {
    to[c] = static_cast<float>((1 - momentum) * to[c] + momentum * factor * from[c]);
  }
  if (!running.is_inference()) running.unsafeGetTensorImpl()->bump_version();
}

at::Tensor real_float(const at::Tensor& tensor) { return realize(tensor).to(at::kFloat); }

}  // namespace

WeightMode weight_mode(const SessionOptions& options) {
  WeightMode mode;
  mode.training = options.training && !options.recompute;
  mode.learn = options.learn;
  mode.track = options.track && !options.recompute;
  mode.lowest_bits = options.progress.weight_bits;
  return mode;
}

const WeightOutcome& Session::quantized_weight(const Call& call, const at::Tensor& weight) {
  const int entry = weight_bank_.entry_of(call.node);
  const auto key = std::make_pair(weight.unsafeGetTensorImpl(), entry);
  const auto known = weights_.find(key);
  if (known != weights_.end() && known->second.region == current_region()) {
    return known->second.outcome;
  }
  UsedWeight used{weight, weight_bank_.quantize(entry, weight, weight_mode(options_)),
                  current_region()};
  if (weight_probe) {
    const at::AutoGradMode history(options_.track);
    weight_probe(entry, weight_bank_.masked(entry, weight), used.outcome.quantized);
  }
  return weights_.insert_or_assign(key, std::move(used)).first->second.outcome;
}

at::Tensor Session::conv(Call& call) {
  const auto& sizes = call.arguments.get("weight").toTensor().sizes();
  auto parsed = capture::parse_conv(call.arguments, call.operands[0].dim(), sizes);
  if (!parsed.unsupported.empty()) {
    throw Error("forward: '" + call.name() + "' (" + call.known.stem + "): " + parsed.unsupported +
                ", other than in the examples. Call the model with a batch, or prepare it with an "
                "example of this form.");
  }
  const at::Tensor weight = real_float(call.operands[1]);
  const auto& [codes, differentiable] = quantized_weight(call, weight);
  const at::Tensor bias =
      weight_bank_.kept_channels(call.node, tensor_argument(call.arguments, parsed.bias));
  const at::Tensor layer =
      conv_int(codes_operand(call, 0), differentiable, codes, bias,
               std::make_shared<const ConvGeometry>(std::move(parsed.geometry)), plan_.numerics);
  if (call.site->output == kNoQuantizer) return layer;
  return outcome(call, chain_of(layer, true), Nominal::like(layer));
}

at::Tensor Session::linear(Call& call) {
  const auto parsed = capture::parse_linear(call.arguments);
  at::Tensor weight = real_float(call.arguments.at(parsed.weight).toTensor());
  if (parsed.weight_transposed) weight = weight.t();
  const auto& [codes, differentiable] = quantized_weight(call, weight);
  const at::Tensor bias =
      weight_bank_.kept_channels(call.node, tensor_argument(call.arguments, parsed.bias));
  const at::Tensor layer =
      linear_int(codes_operand(call, parsed.input), differentiable, codes, bias, plan_.numerics);
  if (call.site->output == kNoQuantizer) return layer;
  return outcome(call, chain_of(layer, true), Nominal::like(layer));
}

Chain Session::chain_of(const at::Tensor& operand, bool bare_layer_only) const {
  const Payload* payload = payload_of(operand);
  const bool pending = payload != nullptr && payload->chain.has_value();
  const bool bare_layer =
      pending && payload->chain->multiplier.defined() && payload->chain->plain();
  // A layer's own result is the source itself, so nothing is reached past.
  const bool continues = pending && (!payload->chain->source.defined() || can_reach_past(operand));
  if (continues && (bare_layer || !bare_layer_only)) {
    Chain chain = *payload->chain;
    if (!chain.source.defined()) chain.source = operand;
    return chain;
  }
  return real_chain(real_float(operand));
}

// Batch norm's normalisation: the statistics of this batch, or the running ones.
Chain Session::normalized(Call& call, Chain chain, int64_t channels) {
  const auto kept = [&](std::string_view name) {
    return weight_bank_.kept_channels(call.node, tensor_argument(call.arguments, name));
  };
  const at::Tensor gamma = kept("weight");
  const at::Tensor beta = kept("bias");
  const at::Tensor running_mean = tensor_argument(call.arguments, "running_mean");
  const at::Tensor running_var = tensor_argument(call.arguments, "running_var");
  const double eps = call.arguments.get("eps").toDouble();
  const double momentum = call.arguments.get("momentum").toDouble();
  const bool batch = call.arguments.get("training").toBool() && !options_.batch_norm_frozen;
  const bool differentiable = at::GradMode::is_enabled();
  at::NoGradGuard no_grad;
  at::Tensor mean = running_mean, variance = running_var;
  if (batch) {
    std::tie(mean, variance) =
        call::batch_statistics(chain.acc, chain.multiplier, chain.bias, chain.axis);
    const double n = static_cast<double>(chain.acc.numel()) / static_cast<double>(channels);
    const double unbias = n > 1 ? n / (n - 1) : 1.0;
    follow(running_mean, mean, momentum, 1.0);
    follow(running_var, variance, momentum, unbias);
  }
  ChainBatchNorm bn;
  bn.gamma = gamma;
  bn.beta = beta;
  bn.through_statistics = batch;
  if (differentiable) {
    const auto terms = batch_norm_terms(chain.multiplier, chain.bias, gamma, mean, variance, eps);
    bn.xhat_multiplier = terms.multiplier;
    bn.xhat_bias = terms.bias;
    bn.gain = terms.gain;
  }
  std::tie(chain.multiplier, chain.bias) =
      call::fold_batch_norm(chain.multiplier, chain.bias, gamma, beta, mean, variance, eps);
  chain.batch_norm = std::move(bn);
  return chain;
}

at::Tensor Session::batch_norm(Call& call) {
  const at::Tensor& input = call.operands[0];
  Chain chain = chain_of(input, true);
  if (chain.axis != 1) {  // behind a linear layer on [N, S, C], the channels are those of axis 1
    chain = real_chain(real_float(input));
  }
  const int64_t channels = input.size(1);
  return outcome(call, normalized(call, std::move(chain), channels), Nominal::like(input));
}

at::Tensor Session::activation(Call& call) {
  const at::Tensor& input = call.operands[0];
  Chain chain = chain_of(input, false);
  if (chain.activation.kind != numerics::ActivationKind::none || chain.slope.defined()) {
    chain = real_chain(real_float(input));
  }
  chain.activation = capture::parse_activation(call.arguments, call.known.stem);
  return outcome(call, std::move(chain), Nominal::like(input));
}

at::Tensor Session::prelu(Call& call) {
  const at::Tensor& input = call.operands[0];
  Chain chain = chain_of(input, false);
  if (chain.axis != 1 || chain.activation.kind != numerics::ActivationKind::none) {
    chain = real_chain(real_float(input));
  }
  chain.activation = {numerics::ActivationKind::leaky_relu};
  chain.slope = call.operands[1].expand({input.size(1)}).contiguous();
  return outcome(call, std::move(chain), Nominal::like(input));
}

at::Tensor Session::binary(Call& call) {
  at::Tensor a = call.operands[0], b = call.operands[1];
  for (size_t i = 0; i < 2; ++i) {  // operands whose readers all see codes
    if (expected_quantizer(call, i) == kNoQuantizer) continue;
    (i == 0 ? a : b) = codes_operand(call, i);
  }
  const auto op = capture::parse_binary(call.arguments, call.known.stem);
  const auto can_lead = [](const at::Tensor& t) {
    const Payload* payload = payload_of(t);
    return payload != nullptr && payload->chain && !payload->chain->residual.defined() &&
           payload->chain->activation.kind == numerics::ActivationKind::none && can_reach_past(t);
  };
  if (op == graph::Binary::add && a.sizes() == b.sizes() && a.dim() > 0) {
    if (!can_lead(a)) std::swap(a, b);  // float addition commutes
    if (can_lead(a)) {
      Chain chain = chain_of(a, false);
      Payload* other = payload_of(b);
      const bool codes = other != nullptr && other->codes;
      if (other != nullptr && other->chain) {
        chain.residual_chain = residual_source(*other->chain);
      }
      chain.residual = codes ? b : real_float(b);
      if (!codes) chain.residual_version = version_of(chain.residual);
      return outcome(call, std::move(chain), Nominal::like(a));
    }
  }
  const at::Tensor x = real_float(call.operands[0]), y = real_float(call.operands[1]);
  const auto real = [&] {
    switch (*op) {
      case graph::Binary::add:
        return at::add(x, y);
      case graph::Binary::sub:
        return at::sub(x, y);
      case graph::Binary::mul:
        return at::mul(x, y);
    }
    throw Error(call.name() + ": unknown binary operator.");
  }();
  return outcome(call, real_chain(real), Nominal::like(real));
}

}  // namespace qat::insert
