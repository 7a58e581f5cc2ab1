#pragma once
// What a chain leaves for its backward.

#include "insert/quantized_tensor.h"

namespace qat::insert {

// Note [Compact chains]
// What backward takes from a chain are v = acc * multiplier + bias, for the masks, and x_hat, both
// of them affine in acc. So acc may be replaced by x_hat, or by v where there is no batch norm,
// with the other expressed by it. As float16 that takes half of the memory. x_hat is off by up to
// 2^-11 of itself, which enters its own term of the gradient and the masks of values at a border.
// Where float16 has no number for a value the chain stays as it is. With `recompute` acc is made
// again by the layer.
//
// A residual that is a layer with its batch norm alone (the shortcut of a ResNet's stage) is real
// and would take four bytes per element. It is made again out of what the layer's own chain left.
Chain compact_chain(const Chain& chain);

// What a residual is made again from: `of` without its history. nullptr: nothing is gained.
std::shared_ptr<const Chain> residual_source(Chain& of);

// The real residual of such a source, after what compact_chain() left of it.
at::Tensor evaluate_residual(const Chain& source);

}  // namespace qat::insert
