#pragma once
// A smaller graph with the same results.

#include "graph/model.h"

namespace qat::lower {

// Cuts the output channels of convolutions and linear layers that are 0 for every input (weights
// and bias are zero), and the matching input channels of the layer that reads them. Between the two
// only operators that keep channels apart and take 0 to 0 may stand, each the only reader of its
// input. Every output keeps its bits: the channels' codes are zero points, which add nothing to an
// accumulator (rule 6 of docs/numerics.md). At least one channel stays. Returns how many went.
int64_t remove_channels(graph::Model& model);

}  // namespace qat::lower
