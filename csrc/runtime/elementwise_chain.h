#pragma once
// Chains of elementwise operators in one pass.

#include "runtime/chains.h"
#include "runtime/operators.h"

namespace qat::runtime {

// A chain without a layer. The inputs are the chain's and then the operands of its stages in order,
// all in one layout. site.node: the chain's last.
Binder make_elementwise_chain(const Site& site, const Chain& chain, Layout layout);

}  // namespace qat::runtime
