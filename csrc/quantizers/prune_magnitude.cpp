// magnitude: the weights of a layer with the smallest magnitudes, wherever they are (Han et al.
// 2015; Zhu and Gupta 2017).

#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/kthvalue.h>
#include <ATen/ops/ones_like.h>

#include <cmath>

#include "quantizers/prune.h"

namespace qat {
namespace {

class Magnitude final : public Pruner {
 public:
  explicit Magnitude(const WeightShape& shape) : elements_(1) {
    for (const int64_t size : shape.sizes) elements_ *= size;
  }

  int64_t zeros(double sparsity) const override {
    return std::llround(sparsity * static_cast<double>(elements_));
  }

  at::Tensor keep(const at::Tensor& weight, int64_t zeros) const override {
    const at::Tensor size = at::abs(weight).flatten();
    if (zeros == 0) return at::ones_like(weight, at::kBool);
    const at::Tensor limit = std::get<0>(at::kthvalue(size, zeros));
    const at::Tensor below = size < limit, equal = size == limit;
    const at::Tensor place = at::cumsum(equal, 0);  // 1 for the first of the equals
    const at::Tensor gone = below.logical_or(equal.logical_and(place <= zeros - below.sum()));
    return gone.logical_not().view(weight.sizes());
  }

 private:
  int64_t elements_;
};

}  // namespace

std::unique_ptr<Pruner> make_magnitude_pruner(const WeightShape& shape) {
  return std::make_unique<Magnitude>(shape);
}

}  // namespace qat
