#pragma once
// The trace of the Hessian of a loss, layer by layer (Dong et al., HAWQ-V2, NeurIPS 2020).

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace qat::train {

struct TraceEstimate {
  double trace = 0;
  double standard_error = 0;  // of the random vectors; that of the rows is not in it
};

struct HutchinsonOptions {
  int64_t samples = 16;  // at least 2
  uint64_t seed = 1;
};

// The share of batch `index` in the loss, twice differentiable in the weights.
using BatchLoss = std::function<at::Tensor(int64_t index)>;

// Hutchinson's estimate of the trace of d2L/dW2 for each of `weights`, L the sum over the batches:
// the mean of z'Hz over vectors z of random signs. One z spans all weights, so its product with the
// whole Hessian serves every layer; what a layer's part gets from the others has mean 0 and is in
// the standard error. The vectors depend on the seed, their number and the place in `weights`.
std::vector<TraceEstimate> hessian_traces(const std::vector<at::Tensor>& weights, int64_t batches,
                                          const BatchLoss& loss, const HutchinsonOptions& options);

}  // namespace qat::train
