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

#include <array>

#include "error.h"
#include "insert/chain_codes.h"
#include "insert/compact_chain.h"
#include "insert/gradient_node.h"
#include "insert/kept_chain.h"
#include "insert/node_ranges.h"
#include "insert/nodes_common.h"
#include "insert/ops_calls.h"

namespace qat::insert {
namespace {

// The operands of a chain's node, in the order of its gradients.
enum ChainOperand : size_t { kValue, kGamma, kBeta, kResidual, kSlope, kScale, kZeroPoint, kCount };

// The gradient of a sum that nothing bends.
variable_list spread(const at::Tensor& grad, const Wanted& wanted) {
  variable_list out(kCount);
  out[kValue] = grad;
  if (wanted(kResidual)) out[kResidual] = grad;
  return out;
}

variable_list differentiate(const Chain& chain, const at::Tensor& grad, const Codes& to,
                            const QuantizerBackward& quantizer, const Wanted& wanted) {
  const auto of = call::bn_act_backward(
      grad, chain, to,
      {wanted(kResidual), quantizer.learned(), quantizer.learned() && quantizer.clipped_only});
  variable_list out(kCount);
  out[kValue] = of.value;
  if (wanted(kGamma)) out[kGamma] = of.sum_dy_xhat;
  if (wanted(kBeta)) out[kBeta] = of.sum_dy;
  if (wanted(kResidual)) out[kResidual] = of.residual;
  if (wanted(kSlope)) out[kSlope] = of.slope;
  if (quantizer.scale) out[kScale] = of.scale;
  if (quantizer.zero_point) out[kZeroPoint] = of.zero_point;
  return out;
}

// A sum whose result nobody clips: layer, bias and residual alone.
struct SumDerivative {
  static constexpr const char* kName = "qat_ext::SumBackward";
  template <typename F>
  void tensors(F&&) {}
  variable_list operator()(const variable_list& grads, const Wanted& wanted) const {
    return spread(grads[0], wanted);
  }
};

// Note [One bit per element]: the mask is all that is kept.
struct MaskedDerivative : KeptMask {
  static constexpr const char* kName = "qat_ext::MaskedBackward";
  variable_list operator()(const variable_list& grads, const Wanted& wanted) const {
    return spread(through(grads[0]), wanted);
  }
};

struct ChainDerivative {
  static constexpr const char* kName = "qat_ext::ChainBackward";
  KeptChain chain;
  Codes to;  // scale and zero point of the result, where it is quantized
  QuantizerBackward quantizer;
  template <typename F>
  void tensors(F&& f) {
    chain.tensors(f);
    visit_tensors(to, f);
  }
  variable_list operator()(const variable_list& grads, const Wanted& wanted) const {
    return differentiate(chain.rebuild(), grads[0], to, quantizer, wanted);
  }
};

// Of a chain that goes on, and whose end reaches past this node: in most models it lives until the
// next operator. The vectors that the engine made are kept as they are, which is cheaper.
struct PendingDerivative {
  static constexpr const char* kName = "qat_ext::PendingBackward";
  KeptChain chain;
  template <typename F>
  void tensors(F&& f) {
    chain.tensors_in_use(f);
  }
  variable_list operator()(const variable_list& grads, const Wanted& wanted) const {
    return differentiate(chain.rebuild(), grads[0], {}, {}, wanted);
  }
};

bool is_sum(const Chain& chain) {
  return !chain.batch_norm && !chain.slope.defined() &&
         chain.activation.kind == numerics::ActivationKind::none;
}

// The chain as it is kept for backward. What its neighbours may still read stays as it is.
KeptChain compact_kept(const Chain& chain) {
  const bool nothing_to_gain =
      chain.save == SavedValue::float32 || !chain.multiplier.defined() || chain.acc.numel() == 0;
  return KeptChain(nothing_to_gain ? chain : compact_chain(chain));
}

// What a chain's end does first.
void begin(Chain& chain) {
  const bool real = chain.residual.defined() && payload_of(chain.residual) == nullptr;
  if (real && version_of(chain.residual) != chain.residual_version) {
    throw Error(
        "forward: a tensor that was added to another one was changed in place before the sum was "
        "needed. Use the out-of-place operator, or clone() the tensor first.");
  }
  if (!at::GradMode::is_enabled()) chain.save = SavedValue::float32;  // nothing is kept
}

using ChainOperands = std::array<const at::Tensor*, kCount>;

ChainOperands operands_of(const Chain& chain, const RangeEdges* learned = nullptr) {
  static const at::Tensor none;
  const auto& bn = chain.batch_norm;
  ChainOperands operands;
  operands[kValue] = &chain.source;
  operands[kGamma] = bn ? &bn->gamma : &none;
  operands[kBeta] = bn ? &bn->beta : &none;
  operands[kResidual] = &chain.residual;
  operands[kSlope] = &chain.slope;
  operands[kScale] = learned != nullptr ? &learned->scale : &none;
  operands[kZeroPoint] = learned != nullptr ? &learned->zero_point : &none;
  return operands;
}

at::Tensor masked_result(const Chain& chain, const Nominal& nominal, const QuantizeTo& to,
                         const ChainOperands& operands) {
  const MaskedCodes masked = masked_codes(chain, to);
  MaskedDerivative derivative{KeptMask(masked)};
  return attached(codes_result(masked.codes, to.target, nominal), std::move(derivative), operands);
}

}  // namespace

at::Tensor make_pending(Chain chain, const Nominal& nominal) {
  begin(chain);
  const c10::Device device = chain.source.device();
  auto payload = std::make_shared<Payload>();
  const Chain& held = payload->chain.emplace(std::move(chain));
  const ChainOperands operands = operands_of(held);
  const bool recorded = wants_gradient(operands);
  const at::NoGradGuard no_grad;
  const at::Tensor result = make_like(std::move(payload), nominal, device);
  return recorded ? attached(result, PendingDerivative{KeptChain(held)}, operands) : result;
}

at::Tensor make_real(Chain chain, const Nominal& nominal) {
  begin(chain);
  const ChainOperands operands = operands_of(chain);
  const bool recorded = wants_gradient(operands);
  const at::NoGradGuard no_grad;
  if (recorded && !is_sum(chain)) {
    ChainDerivative derivative{compact_kept(chain), {}, {}};
    return attached(to_nominal(call::bn_act(chain), nominal), std::move(derivative), operands);
  }
  const at::Tensor result = to_nominal(call::bn_act(chain), nominal);
  return recorded ? attached(result, SumDerivative{}, operands) : result;
}

at::Tensor make_codes(Chain chain, const Nominal& nominal, const QuantizeTo& to) {
  begin(chain);
  const ChainOperands operands = operands_of(chain, &to.learned);
  const bool recorded = wants_gradient(operands);
  const at::NoGradGuard no_grad;
  if (!recorded) return codes_result(chain_codes(chain, to), to.target, nominal);
  if (bent_by_quantizer_alone(chain, to)) return masked_result(chain, nominal, to, operands);
  ChainDerivative derivative{compact_kept(chain), with_codes(to.target, {}),
                             quantizer_backward_of(to)};
  return attached(codes_result(chain_codes(chain, to), to.target, nominal), std::move(derivative),
                  operands);
}

at::Tensor LayerSource::accumulate() const {
  const Codes input{codes, {1.0f, static_cast<int32_t>(zero_point)}, {}, {}, {}};
  return geometry ? call::conv_int(input, weight, *geometry) : call::linear_int(input, weight);
}

at::Tensor wrap_real(const at::Tensor& real) {
  Chain chain;
  chain.acc = real.detach();
  chain.source = real;
  return make_pending(std::move(chain), Nominal::like(real));
}

}  // namespace qat::insert
