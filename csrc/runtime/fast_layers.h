#pragma once
// Operators on channels-last tensors [N, H, W, C] that have kernels of their own.

#include "kernels/cpu/gemm_u8s8.h"
#include "runtime/chains.h"
#include "runtime/layout.h"
#include "runtime/pooling.h"
#include "runtime/views.h"

namespace qat::runtime {

// True for the layers that make_fast_layer knows: 2-d convolutions and linear layers.
bool has_fast_layer(const graph::Node& node);

// The layer of a chain with its epilogue. The inputs are the layer's input and then the operands
// of the stages in order. Convolutions read and write channels-last tensors, linear layers
// row-major ones.
Binder make_fast_layer(const Site& site, const Chain& chain, kernels::u8s8::InstructionSet set);

// A pool with two spatial axes, [N, H, W, C] to [N, H', W', C].
Binder make_fast_pool(const Site& site, const Pool& pool);

// Floats [N, C, H, W] to codes [N, H, W, C].
Binder make_quantize_to_channels_last(const Site& site);

// A tensor of rank 4 in the other layout, `to`.
Binder make_layout_change(Layout to);

}  // namespace qat::runtime
