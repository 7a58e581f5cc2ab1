#include "insert/chain_codes.h"

#include "insert/ops_calls.h"
#include "ops/chain.h"

namespace qat::insert {
namespace {

// The affine map of a layer and its batch norm; then addition and activation, which take an
// accumulator without a multiplier as it is: both passes together round as often as one.
at::Tensor evaluate_apart(const Chain& chain) {
  Chain rest = chain;
  if (chain.multiplier.defined()) {
    Chain affine;
    affine.acc = chain.acc;
    affine.multiplier = chain.multiplier;
    affine.bias = chain.bias;
    affine.axis = chain.axis;
    rest.acc = call::bn_act(affine);
    rest.multiplier = rest.bias = at::Tensor();
    rest.batch_norm.reset();
    if (rest.plain()) return rest.acc;
  }
  return call::bn_act(rest);
}

}  // namespace

at::Tensor chain_codes(const Chain& chain, const QuantizeTo& to) {
  if (to.fused) {
    auto [codes, range] = call::bn_act_quantize(chain, to.target, to.observe);
    if (to.observe) to.report(range);
    return codes;
  }
  const at::Tensor real = evaluate_apart(chain);
  if (to.observe) to.report(call::finite_range(real));
  return call::quantize(real, to.target);
}

bool bent_by_quantizer_alone(const Chain& chain, const QuantizeTo& to) {
  return to.fused && chain.acc.dim() > 0 && !chain.batch_norm && !chain.slope.defined() &&
         chain.activation.kind == numerics::ActivationKind::none && !to.learned.scale.defined() &&
         !to.learned.zero_point.defined();
}

MaskedCodes masked_codes(const Chain& chain, const QuantizeTo& to) {
  const bool is_real = chain.plain() && !chain.multiplier.defined();
  const at::Tensor real =
      is_real ? ops::in_rows(chain.acc, call::axis_of(chain)) : call::bn_act(chain);
  auto [codes, mask, range] = call::quantize_with_mask(real, to.target);
  if (to.observe) to.report(range);
  return {codes, mask};
}

KeptMask::KeptMask(const MaskedCodes& masked)
    : mask(masked.mask), stride(masked.codes.strides().vec()) {}

at::Tensor KeptMask::through(const at::Tensor& grad) const {
  return call::straight_through(grad, mask, stride);
}

}  // namespace qat::insert
