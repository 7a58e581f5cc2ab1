#pragma once
// Which layers of a trace are pruned and clustered.

#include "insert/plan.h"
#include "quantizers/compression.h"

namespace qat::insert {

struct LayerCompression {
  SiteCompression site;
  int64_t batch_norm = -1;  // node whose channels are pruned with the layer's
};

// `node`: an integer conv or linear layer of the trace.
LayerCompression compression_of(const capture::Trace& trace, const Plan& plan, const Recipe& recipe,
                                int64_t node);

// Note [Channels that can be removed]
// An output channel whose weights and offset are zero has the value 0 everywhere. Up to the layer
// that reads it, every operator must keep it apart from other channels and take 0 to 0; then its
// codes are zero points, which add nothing to an accumulator, and both layers lose the channel
// without a change in any bit. An addition (a residual connection) ends this: its other operand has
// the channel still. So does a depthwise convolution, whose channels would have to go as well.
// Empty when the channels of layer `node` can be removed; `batch_norm` as in LayerCompression.
std::string channel_obstacle(const capture::Trace& trace, const Plan& plan, int64_t node,
                             int64_t& batch_norm);

}  // namespace qat::insert
