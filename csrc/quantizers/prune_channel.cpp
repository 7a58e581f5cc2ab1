// channel: the output channels whose filters have the smallest norms (Li et al., ICLR 2017, with
// the L2 norm).

#include <ATen/TensorOperators.h>
#include <ATen/ops/argsort.h>
#include <ATen/ops/ones.h>

#include <algorithm>
#include <cmath>

#include "quantizers/prune.h"

namespace qat {
namespace {

class Channel final : public Pruner {
 public:
  explicit Channel(const WeightShape& shape) : channels_(shape.sizes.at(0)), per_channel_(1) {
    for (size_t i = 1; i < shape.sizes.size(); ++i) per_channel_ *= shape.sizes[i];
  }

  // One channel stays at any sparsity: a layer without output is no layer.
  int64_t zeros(double sparsity) const override {
    const int64_t gone = std::llround(sparsity * static_cast<double>(channels_));
    return std::min(gone, channels_ - 1) * per_channel_;
  }

  at::Tensor keep(const at::Tensor& weight, int64_t zeros) const override {
    const at::Tensor norm = weight.to(at::kDouble).square().flatten(1).sum(1);
    const at::Tensor order = at::argsort(norm, /*stable=*/true, 0, /*descending=*/false);
    at::Tensor keep = at::ones({channels_}, weight.options().dtype(at::kBool));
    keep.index_fill_(0, order.narrow(0, 0, zeros / per_channel_), false);
    std::vector<int64_t> sizes(weight.dim(), 1);
    sizes[0] = channels_;
    return keep.view(sizes).expand(weight.sizes());
  }

 private:
  int64_t channels_, per_channel_;
};

}  // namespace

std::unique_ptr<Pruner> make_channel_pruner(const WeightShape& shape) {
  return std::make_unique<Channel>(shape);
}

}  // namespace qat
