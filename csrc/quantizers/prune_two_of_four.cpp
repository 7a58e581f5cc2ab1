// 2:4: of four input channels that follow one another, the two smallest weights of an output
// channel and kernel position (Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks"). The
// input channels are the innermost axis of the matrix product in channels-last layout, where the
// hardware looks for its groups of four. The choice is made at every step until `end` (Zhou et al.
// 2021, "Learning N:M Fine-grained Structured Sparse Neural Networks From Scratch").

#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/argsort.h>

#include "quantizers/prune.h"

namespace qat {
namespace {

constexpr int64_t kGroup = 4, kZeros = 2;

class TwoOfFour final : public Pruner {
 public:
  explicit TwoOfFour(const WeightShape& shape) : axis_(shape.axis == 0 ? 1 : 0), elements_(1) {
    for (const int64_t size : shape.sizes) elements_ *= size;
  }

  int64_t zeros(double sparsity) const override {
    return sparsity > 0 ? elements_ / kGroup * kZeros : 0;
  }

  at::Tensor keep(const at::Tensor& weight, int64_t zeros) const override {
    (void)zeros;
    const at::Tensor groups = at::abs(weight).unflatten(axis_, {-1, kGroup});
    const at::Tensor order = at::argsort(groups, /*stable=*/true, axis_ + 1, /*descending=*/false);
    const at::Tensor rank = at::argsort(order, /*stable=*/true, axis_ + 1, /*descending=*/false);
    return (rank >= kZeros).flatten(axis_, axis_ + 1);
  }

  bool chooses_again() const override { return true; }

 private:
  int64_t axis_, elements_;
};

}  // namespace

std::unique_ptr<Pruner> make_two_of_four_pruner(const WeightShape& shape) {
  return std::make_unique<TwoOfFour>(shape);
}

}  // namespace qat
