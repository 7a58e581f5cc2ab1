#pragma once
// The codes of a chain: in one pass over memory, or in a pass per step.

#include "insert/nodes.h"

namespace qat::insert {

// Reports the range where `to` wants it observed.
at::Tensor chain_codes(const Chain& chain, const QuantizeTo& to);

}  // namespace qat::insert
