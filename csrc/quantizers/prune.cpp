#include "quantizers/prune.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>

#include "error.h"
#include "quantizers/weight_common.h"

namespace qat {
namespace {

std::unique_ptr<Pruner> make_pruner(PruneMethod method, const WeightShape& shape) {
  switch (method) {
    case PruneMethod::two_of_four:
      return make_two_of_four_pruner(shape);
    case PruneMethod::channel:
      return make_channel_pruner(shape);
    default:
      return make_magnitude_pruner(shape);
  }
}

}  // namespace

int64_t input_channels(const WeightShape& shape) {
  return shape.axis == 0 ? shape.sizes.at(1) : shape.sizes.at(0) / shape.groups;
}

std::string prune_obstacle(PruneMethod method, const WeightShape& shape) {
  if (method == PruneMethod::two_of_four && input_channels(shape) % 4 != 0) {
    return "2:4 takes groups of four input channels, and an output channel reads " +
           std::to_string(input_channels(shape));
  }
  if (method == PruneMethod::channel && shape.axis != 0) {
    return "channels of transposed convolutions stay";
  }
  return {};
}

double sparsity_at(const PruneRecipe& recipe, double fraction) {
  if (fraction >= recipe.end) return recipe.sparsity;
  if (fraction <= recipe.start) return 0.0;
  const double rest = 1.0 - (fraction - recipe.start) / (recipe.end - recipe.start);
  return recipe.sparsity * (1.0 - rest * rest * rest);
}

PruneMask::PruneMask(const PruneRecipe& recipe, PruneMethod method, const WeightShape& shape)
    : recipe_(recipe),
      shape_(shape),
      pruner_(make_pruner(method, shape)),
      mask_(at::ones(shape.sizes, at::kByte)),
      pending_(at::full({1}, -1, at::kLong)) {
  step(0.0);
}

void PruneMask::step(double fraction) {
  const bool again = pruner_->chooses_again() && fraction >= recipe_.start;
  const int64_t zeros = pruner_->zeros(again ? recipe_.sparsity : sparsity_at(recipe_, fraction));
  const int64_t now = mask_.numel() - mask_.sum().item<int64_t>();
  const bool moves = zeros > now || (again && zeros > 0 && fraction < recipe_.end);
  pending_.fill_(moves ? zeros : -1);
}

void PruneMask::update(const at::Tensor& weight) {
  const int64_t zeros = pending_.item<int64_t>();
  if (zeros < 0) return;
  mask_.copy_(pruner_->keep(weight.detach(), zeros));
  pending_.fill_(-1);
}

at::Tensor PruneMask::apply(const at::Tensor& weight) const {
  // Not a product: a weight that diverged would become NaN instead of 0.
  return weight.masked_fill(mask_.to(weight.device()) == 0, 0.0);
}

void PruneMask::require_zero(const at::Tensor& codes) const {
  const at::Tensor wrong = codes.ne(0).logical_and(mask_.to(codes.device()) == 0);
  if (!wrong.any().item<bool>()) return;
  throw Error("a pruned weight got a code other than 0; its method must give 0 for 0.");
}

at::Tensor PruneMask::channels() const {
  return quantizers::channel_absmax(mask_.to(at::kFloat), shape_);
}

}  // namespace qat
