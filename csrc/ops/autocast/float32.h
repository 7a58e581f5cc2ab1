#pragma once
// Autocast: ranges, scales and codes are defined on float32 (docs/numerics.md), so no operator runs
// in a lower precision; floating inputs are widened.

#include <torch/library.h>

namespace qat::ops {

// Register every operator of the namespace.
void widen_all_cpu(torch::Library& m);
void widen_all_cuda(torch::Library& m);

}  // namespace qat::ops
