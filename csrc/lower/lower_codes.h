#pragma once
// Lowering of pooling and layout operators.

#include "lower/builder.h"

namespace qat::lower {

// Node `index` of the trace: a pool, a mean or a layout operator.
void lower_codes(Builder& build, int64_t index);

}  // namespace qat::lower
