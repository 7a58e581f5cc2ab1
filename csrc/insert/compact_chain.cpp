#include "insert/compact_chain.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros_like.h>

#include "insert/ops_calls.h"

namespace qat::insert {
namespace {

Chain half_precision(const Chain& chain) {
  Chain image;  // of the affine map that makes what is kept
  image.acc = chain.acc;
  image.axis = chain.axis;
  Chain compact = chain;
  if (chain.batch_norm) {
    ChainBatchNorm& bn = *compact.batch_norm;
    image.multiplier = bn.xhat_multiplier;
    image.bias = bn.xhat_bias;
    compact.multiplier = chain.multiplier / bn.xhat_multiplier;
    compact.bias = chain.bias - bn.xhat_bias * compact.multiplier;
    bn.xhat_multiplier = at::ones_like(bn.xhat_multiplier);
    bn.xhat_bias = at::zeros_like(bn.xhat_bias);
  } else {
    image.multiplier = chain.multiplier;
    image.bias = chain.bias;
    compact.multiplier = compact.bias = at::Tensor();
  }
  compact.acc = call::affine_half(image);
  return compact.acc.defined() ? compact : chain;
}

// The affine part alone, in the compact form that its own chain has, or gets now.
Chain compact_affine(const Chain& chain) {
  const auto& left = chain.compact;
  const bool there = left != nullptr && (left->acc.defined() || left->layer.has_value());
  return there ? *left : compact_chain(chain);
}

}  // namespace

Chain compact_chain(const Chain& chain) {
  Chain compact = chain;
  if (chain.save == SavedValue::float16) {
    compact = half_precision(chain);
  } else if (chain.save == SavedValue::recompute) {
    compact.acc = at::Tensor();
  }
  if (chain.compact != nullptr) {
    Chain& left = *chain.compact;
    left.acc = compact.acc;
    left.multiplier = compact.multiplier;
    left.bias = compact.bias;
    left.axis = chain.axis;
    left.layer = chain.layer;
  }
  if (chain.residual_chain != nullptr) {
    const Chain affine = compact_affine(*chain.residual_chain);
    const bool smaller = !affine.acc.defined() || affine.acc.scalar_type() == at::kHalf;
    compact.residual_chain = smaller ? std::make_shared<const Chain>(affine) : nullptr;
    if (smaller) compact.residual = at::Tensor();
  }
  return compact;
}

std::shared_ptr<const Chain> residual_source(Chain& of) {
  const bool affine = of.multiplier.defined() && !of.residual.defined() && !of.slope.defined() &&
                      of.activation.kind == numerics::ActivationKind::none;
  if (!affine || of.save == SavedValue::float32 || of.acc.numel() == 0) return nullptr;
  of.compact = std::make_shared<Chain>();
  auto source = std::make_shared<Chain>(of);
  source->source = at::Tensor();
  return source;
}

at::Tensor evaluate_residual(const Chain& source) {
  Chain affine;
  affine.acc = source.acc.defined() ? source.acc.to(at::kFloat) : source.layer->accumulate();
  affine.multiplier = source.multiplier;
  affine.bias = source.bias;
  affine.axis = source.axis;
  return call::bn_act(affine);
}

}  // namespace qat::insert
