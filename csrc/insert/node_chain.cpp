// The chain's end: batch norm, residual, activation and quantizer as one node.
//
// Note [Two nodes per layer]
// The layer's own node takes the gradient with respect to v = acc * multiplier + bias and knows
// nothing of what follows; the chain node turns the gradient of the chain's result into that of v,
// gamma, beta and the residual in two passes over acc, from which it recomputes every mask, so that
// nothing is saved but the accumulator. Batch norm or an activation that is still
// pending has a node as well, which serves readers of the intermediate tensor; the chain's end
// reaches past it, unless somebody put a hook there.

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "error.h"
#include "insert/chain_codes.h"
#include "insert/compact_chain.h"
#include "insert/node_ranges.h"
#include "insert/nodes_common.h"
#include "insert/ops_calls.h"

namespace qat::insert {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

enum class Outcome { pending, codes, real };

// Everything of a chain but its tensors.
struct ChainScalars {
  int64_t axis;
  numerics::Activation activation;
  bool has_batch_norm, through_statistics, residual_is_codes, quantized;
  numerics::QuantParams residual_params;
  numerics::IntFormat residual_format, format;
  // Which gradients are wanted. AutogradContext::needs_input_grad counts edges, and absent operands
  // have none.
  bool gamma_grad, beta_grad, residual_grad, slope_grad;
  // Where the accumulator is made again.
  bool recomputed;
  int64_t zero_point;
  std::optional<ConvGeometry> geometry;
  // Where the residual is.
  bool residual_rebuilt;
  int64_t residual_axis, residual_zero_point;
  std::optional<ConvGeometry> residual_geometry;
  QuantizerBackward quantizer;  // where its scale or zero point is learned
};

constexpr size_t kSavedCount = 19;

ChainScalars scalars_of(const Chain& chain, const Codes* to) {
  ChainScalars s{};
  s.axis = chain.axis;
  s.activation = chain.activation;
  s.has_batch_norm = chain.batch_norm.has_value();
  s.through_statistics = s.has_batch_norm && chain.batch_norm->through_statistics;
  if (const Payload* payload = payload_of(chain.residual)) {
    s.residual_is_codes = true;
    s.residual_params = payload->codes->params;
    s.residual_format = payload->codes->format;
  }
  s.quantized = to != nullptr;
  if (to != nullptr) s.format = to->format;
  if (!chain.acc.defined()) {
    s.recomputed = true;
    s.zero_point = chain.layer->zero_point;
    s.geometry = chain.layer->geometry;
  }
  if (!chain.residual.defined() && chain.residual_chain != nullptr) {
    const Chain& source = *chain.residual_chain;
    s.residual_rebuilt = true;
    s.residual_axis = source.axis;
    if (!source.acc.defined()) {
      s.residual_zero_point = source.layer->zero_point;
      s.residual_geometry = source.layer->geometry;
    }
  }
  return s;
}

variable_list tensors_of(const Chain& chain, const Codes* to) {
  variable_list saved{chain.acc, chain.multiplier, chain.bias, chain.slope};
  const ChainBatchNorm none;
  const ChainBatchNorm& bn = chain.batch_norm ? *chain.batch_norm : none;
  saved.insert(saved.end(), {bn.xhat_multiplier, bn.xhat_bias, bn.gain});
  if (const Payload* payload = payload_of(chain.residual)) {
    saved.insert(saved.end(),
                 {payload->codes->codes, payload->codes->scale, payload->codes->zero_point});
  } else {
    const auto real = chain.residual.defined() ? chain.residual.detach() : at::Tensor();
    saved.insert(saved.end(), {real, at::Tensor(), at::Tensor()});
  }
  saved.push_back(to != nullptr ? to->scale : at::Tensor());
  saved.push_back(to != nullptr ? to->zero_point : at::Tensor());
  const bool recomputed = !chain.acc.defined();
  saved.push_back(recomputed ? chain.layer->codes : at::Tensor());
  saved.push_back(recomputed ? chain.layer->weight : at::Tensor());
  const Chain empty;
  const bool rebuilt = !chain.residual.defined() && chain.residual_chain != nullptr;
  const Chain& residual = rebuilt ? *chain.residual_chain : empty;
  saved.insert(saved.end(), {residual.acc, residual.multiplier, residual.bias});
  const bool made_again = rebuilt && !residual.acc.defined();
  saved.push_back(made_again ? residual.layer->codes : at::Tensor());
  saved.push_back(made_again ? residual.layer->weight : at::Tensor());
  return saved;
}

// The chain as it is kept for backward. What its neighbours may still read stays as it is.
Chain kept(const Chain& chain, Outcome outcome) {
  const bool nothing_to_gain =
      chain.save == SavedValue::float32 || !chain.multiplier.defined() || chain.acc.numel() == 0;
  return outcome == Outcome::pending || nothing_to_gain ? chain : compact_chain(chain);
}

at::Tensor rebuild_residual(const ChainScalars& s, const variable_list& saved) {
  if (s.residual_rebuilt) {
    Chain source;
    source.acc = saved[14];
    source.multiplier = saved[15];
    source.bias = saved[16];
    source.axis = s.residual_axis;
    source.layer = LayerSource{saved[17], saved[18], s.residual_zero_point, s.residual_geometry};
    return evaluate_residual(source);
  }
  if (!s.residual_is_codes) return saved[7];
  Codes codes{saved[7], s.residual_params, s.residual_format, saved[8], saved[9]};
  return make_like(codes_payload(std::move(codes)), Nominal::like(saved[7]), saved[7].device());
}

Chain rebuild_chain(const ChainScalars& s, const variable_list& saved) {
  Chain chain;
  if (s.recomputed) {
    chain.acc = LayerSource{saved[12], saved[13], s.zero_point, s.geometry}.accumulate();
  } else {
    chain.acc = saved[0];
  }
  chain.multiplier = saved[1];
  chain.bias = saved[2];
  chain.slope = saved[3];
  chain.axis = s.axis;
  chain.activation = s.activation;
  if (s.has_batch_norm) {
    chain.batch_norm = ChainBatchNorm{{}, {}, saved[4], saved[5], saved[6], s.through_statistics};
  }
  chain.residual = rebuild_residual(s, saved);
  return chain;
}

struct ChainNode : Function<ChainNode> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& source,
                            const OptionalTensor& gamma, const OptionalTensor& beta,
                            const OptionalTensor& residual, const OptionalTensor& slope,
                            const OptionalTensor& scale, const OptionalTensor& zero_point,
                            const Chain& chain, const Nominal& nominal, Outcome outcome,
                            const QuantizeTo* to) {
    (void)scale, (void)zero_point;  // for their gradients
    const Codes* target = outcome == Outcome::codes ? &to->target : nullptr;
    const Chain compact = kept(chain, outcome);
    auto saved = tensors_of(compact, target);
    TORCH_INTERNAL_ASSERT(saved.size() == kSavedCount);
    ctx->save_for_backward(std::move(saved));
    ChainScalars scalars = scalars_of(compact, target);
    const auto wanted = [](const OptionalTensor& t) { return t && t->requires_grad(); };
    scalars.gamma_grad = wanted(gamma);
    scalars.beta_grad = wanted(beta);
    scalars.residual_grad = wanted(residual);
    scalars.slope_grad = wanted(slope);
    if (target != nullptr) scalars.quantizer = quantizer_backward_of(*to);
    ctx->saved_data["chain"] = Held<ChainScalars>::hold(scalars);
    switch (outcome) {
      case Outcome::pending: {
        auto payload = std::make_shared<Payload>();
        payload->chain = chain;
        return make_like(std::move(payload), nominal, source.device());
      }
      case Outcome::real:
        return to_nominal(call::bn_act(chain), nominal);
      case Outcome::codes:
        break;
    }
    return make_like(codes_payload(with_codes(to->target, chain_codes(chain, *to))), nominal,
                     source.device());
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    require_first_order();
    const auto saved = ctx->get_saved_variables();
    const auto& scalars = Held<ChainScalars>::get(ctx->saved_data["chain"]);
    const Chain chain = rebuild_chain(scalars, saved);
    Codes to;
    to.format = scalars.format;
    to.scale = saved[10];
    to.zero_point = saved[11];
    const QuantizerBackward& quantizer = scalars.quantizer;
    const auto of = call::bn_act_backward(grads[0], chain, to,
                                          {scalars.residual_grad, quantizer.learned(),
                                           quantizer.learned() && quantizer.clipped_only});
    variable_list out(11);
    out[0] = of.value;
    if (scalars.gamma_grad) out[1] = of.sum_dy_xhat;
    if (scalars.beta_grad) out[2] = of.sum_dy;
    if (scalars.residual_grad) out[3] = of.residual;
    if (scalars.slope_grad) out[4] = of.slope;
    if (quantizer.scale) out[5] = of.scale;
    if (quantizer.zero_point) out[6] = of.zero_point;
    return out;
  }
};

at::Tensor apply(Chain chain, const Nominal& nominal, Outcome outcome, const QuantizeTo* to) {
  const bool real_residual = chain.residual.defined() && payload_of(chain.residual) == nullptr;
  if (real_residual && version_of(chain.residual) != chain.residual_version) {
    throw Error(
        "forward: a tensor that was added to another one was changed in place before the sum was "
        "needed. Use the out-of-place operator, or clone() the tensor first.");
  }
  if (!at::GradMode::is_enabled()) chain.save = SavedValue::float32;  // nothing is kept
  const auto& bn = chain.batch_norm;
  const RangeEdges learned = to != nullptr ? to->learned : RangeEdges{};
  return ChainNode::apply(chain.source, bn ? optional(bn->gamma) : std::nullopt,
                          bn ? optional(bn->beta) : std::nullopt, optional(chain.residual),
                          optional(chain.slope), optional(learned.scale),
                          optional(learned.zero_point), chain, nominal, outcome, to);
}

}  // namespace

at::Tensor LayerSource::accumulate() const {
  const Codes input{codes, {1.0f, static_cast<int32_t>(zero_point)}, {}, {}, {}};
  return geometry ? call::conv_int(input, weight, *geometry) : call::linear_int(input, weight);
}

at::Tensor make_pending(Chain chain, const Nominal& nominal) {
  return apply(chain, nominal, Outcome::pending, nullptr);
}

at::Tensor make_codes(Chain chain, const Nominal& nominal, const QuantizeTo& to) {
  return apply(chain, nominal, Outcome::codes, &to);
}

at::Tensor make_real(Chain chain, const Nominal& nominal) {
  return apply(chain, nominal, Outcome::real, nullptr);
}

at::Tensor wrap_real(const at::Tensor& real) {
  Chain chain;
  chain.acc = real.detach();
  chain.source = real;
  return make_pending(std::move(chain), Nominal::like(real));
}

}  // namespace qat::insert
