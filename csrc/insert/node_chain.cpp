// The chain's end: batch norm, residual, activation and quantizer as one node.
//
// Note [Two nodes per layer]
// The layer's own node takes the gradient with respect to v = acc * multiplier + bias and knows
// nothing of what follows; the chain node turns the gradient of the chain's result into that of v,
// gamma, beta and the residual in two passes over acc, from which it recomputes every mask, so that
// nothing is saved but the accumulator, or the mask alone: Note [One bit per element]. Batch norm
// or an activation that is still pending has a node as well, which serves readers of the
// intermediate tensor; the chain's end reaches past it, unless somebody put a hook there.

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "error.h"
#include "insert/chain_codes.h"
#include "insert/chain_saved.h"
#include "insert/compact_chain.h"
#include "insert/nodes_common.h"
#include "insert/ops_calls.h"

namespace qat::insert {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

enum class Outcome { pending, codes, real };

// The chain as it is kept for backward. What its neighbours may still read stays as it is.
Chain kept(const Chain& chain, Outcome outcome) {
  const bool nothing_to_gain =
      chain.save == SavedValue::float32 || !chain.multiplier.defined() || chain.acc.numel() == 0;
  return outcome == Outcome::pending || nothing_to_gain ? chain : compact_chain(chain);
}

// A sum whose result nobody clips: layer, bias and residual alone.
bool is_linear(const Chain& chain, Outcome outcome) {
  return outcome == Outcome::real && !chain.batch_norm && !chain.slope.defined() &&
         chain.activation.kind == numerics::ActivationKind::none;
}

// grad: of the sum.
variable_list linear_backward(const ChainScalars& scalars, const at::Tensor& grad) {
  variable_list out(11);
  out[0] = grad;
  if (scalars.residual_grad) out[3] = grad;
  return out;
}

// The forward alone. to: of an outcome in codes.
at::Tensor result_of(const Chain& chain, const Nominal& nominal, Outcome outcome,
                     const QuantizeTo* to, c10::Device device) {
  switch (outcome) {
    case Outcome::pending: {
      auto payload = std::make_shared<Payload>();
      payload->chain = chain;
      return make_like(std::move(payload), nominal, device);
    }
    case Outcome::real:
      return to_nominal(call::bn_act(chain), nominal);
    case Outcome::codes:
      break;
  }
  return make_like(codes_payload(with_codes(to->target, chain_codes(chain, *to))), nominal, device);
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
    const auto wanted = [](const OptionalTensor& t) { return t && t->requires_grad(); };
    ChainScalars scalars{};
    MaskedCodes masked;
    if (is_linear(chain, outcome)) {
      scalars.linear = true;
    } else if (target != nullptr && bent_by_quantizer_alone(chain, *to) &&
               (source.requires_grad() || wanted(residual))) {
      masked = masked_codes(chain, *to);
      scalars.masked = true;
      scalars.mask_stride = masked.codes.strides().vec();
      ctx->save_for_backward({masked.mask});
    } else {
      const Chain compact = kept(chain, outcome);
      auto tensors = tensors_of(compact, target);
      scalars = scalars_of(compact, target);
      scalars.kept = drop_undefined(tensors);
      ctx->save_for_backward(std::move(tensors));
    }
    scalars.gamma_grad = wanted(gamma);
    scalars.beta_grad = wanted(beta);
    scalars.residual_grad = wanted(residual);
    scalars.slope_grad = wanted(slope);
    if (target != nullptr) scalars.quantizer = quantizer_backward_of(*to);
    ctx->saved_data["chain"] = Held<ChainScalars>::hold(scalars);
    if (!scalars.masked) return result_of(chain, nominal, outcome, to, source.device());
    return make_like(codes_payload(with_codes(to->target, masked.codes)), nominal, source.device());
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    require_first_order();
    const auto& scalars = Held<ChainScalars>::get(ctx->saved_data["chain"]);
    if (scalars.linear) return linear_backward(scalars, grads[0]);
    auto kept = ctx->get_saved_variables();
    if (scalars.masked) {
      return linear_backward(scalars,
                             call::straight_through(grads[0], kept[0], scalars.mask_stride));
    }
    const auto saved = restore_undefined(scalars.kept, std::move(kept));
    const Chain chain = rebuild_chain(scalars, saved);
    Codes to;
    to.format = scalars.format;
    to.scale = saved[kScale];
    to.zero_point = saved[kZeroPoint];
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
  const at::Tensor none;
  const auto& bn = chain.batch_norm;
  const RangeEdges learned = to != nullptr ? to->learned : RangeEdges{};
  const at::Tensor &gamma = bn ? bn->gamma : none, &beta = bn ? bn->beta : none;
  if (!needs_node({&chain.source, &gamma, &beta, &chain.residual, &chain.slope, &learned.scale,
                   &learned.zero_point})) {
    const at::NoGradGuard no_grad;
    return result_of(chain, nominal, outcome, to, chain.source.device());
  }
  return ChainNode::apply(chain.source, optional(gamma), optional(beta), optional(chain.residual),
                          optional(chain.slope), optional(learned.scale),
                          optional(learned.zero_point), chain, nominal, outcome, to);
}

}  // namespace

at::Tensor LayerSource::accumulate() const {
  const Codes input{codes, {1.0f, static_cast<int32_t>(zero_point)}, {}, {}, {}};
  return geometry ? call::conv_int(input, weight, *geometry) : call::linear_int(input, weight);
}

at::Tensor make_pending(Chain chain, const Nominal& nominal) {
  return apply(std::move(chain), nominal, Outcome::pending, nullptr);
}

at::Tensor make_codes(Chain chain, const Nominal& nominal, const QuantizeTo& to) {
  return apply(std::move(chain), nominal, Outcome::codes, &to);
}

at::Tensor make_real(Chain chain, const Nominal& nominal) {
  return apply(std::move(chain), nominal, Outcome::real, nullptr);
}

at::Tensor wrap_real(const at::Tensor& real) {
  Chain chain;
  chain.acc = real.detach();
  chain.source = real;
  return make_pending(std::move(chain), Nominal::like(real));
}

}  // namespace qat::insert
