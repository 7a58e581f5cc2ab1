// cluster: after k-means a layer keeps the centroids, which are learned, and for each weight the
// index of its centroid, which stays (Han et al., "Deep Compression", ICLR 2016, section 3). The
// weight itself gets the gradient 0, its centroid the mean of its weights' gradients: a step of SGD
// then moves the weights as their own steps would, projected to what they can share. The sum, as in
// the paper, wants a rate of its own for every layer.

#include "quantizers/cluster.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/bincount.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "error.h"
#include "quantizers/kmeans.h"
#include "quantizers/weight_common.h"

namespace qat::quantizers {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kNobody = -1;  // the weight is zero and stays so

struct SharedWeight : torch::autograd::Function<SharedWeight> {
  // member: int64, shaped like the weight: the centroid, or kNobody.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& weight,
                            const at::Tensor& centroids, const at::Tensor& member) {
    ctx->save_for_backward({centroids, member});
    return at::zeros({}, weight.options()).expand(weight.sizes());
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor slot = saved[1].flatten() + 1;
    // Binary64, so that the order of a large cluster's members does not show.
    at::Tensor sums = at::zeros({saved[0].numel() + 1}, grads[0].options().dtype(at::kDouble));
    sums.index_add_(0, slot, grads[0].flatten().to(at::kDouble));
    const at::Tensor members = at::bincount(slot, {}, sums.numel()).clamp_min(1);
    return {at::zeros_like(grads[0]), (sums / members).slice(0, 1).to(at::kFloat), at::Tensor()};
  }
};

class Cluster final : public WeightQuantizer {
 public:
  Cluster(WeightRecipe recipe, WeightShape shape, int values, bool with_zero)
      : recipe_(std::move(recipe)),
        shape_(std::move(shape)),
        with_zero_(with_zero),
        centroids_(at::zeros({values}, at::kFloat).requires_grad_()),
        assignment_(at::zeros(shape_.sizes, at::kByte)) {}

  void initialize(const at::Tensor& weight) override {
    const at::Tensor dense = weight.to(at::kFloat).contiguous();
    if (!dense.isfinite().all().item<bool>()) {
      throw Error("recipe.cluster: a weight that is NaN or infinite cannot be clustered.");
    }
    const float* from = dense.const_data_ptr<float>();
    const int64_t count = dense.numel();
    const auto values = static_cast<int>(centroids_.numel());
    std::vector<float> sorted = kmeans({from, from + count}, values, with_zero_);
    // The fixed zero stands first, where training does not lose it.
    const auto zero = with_zero_ ? std::find(sorted.begin(), sorted.end(), 0.0f) : sorted.begin();
    const auto fixed = static_cast<int>(zero - sorted.begin());
    auto* to = assignment_.mutable_data_ptr<uint8_t>();
    for (int64_t i = 0; i < count; ++i) {
      const int k = nearest_centroid(sorted, from[i]);
      to[i] = static_cast<uint8_t>(k == fixed ? 0 : k < fixed ? k + 1 : k);
    }
    std::rotate(sorted.begin(), zero, zero + 1);
    std::copy(sorted.begin(), sorted.end(), centroids_.mutable_data_ptr<float>());
  }

  WeightOutcome quantize(const at::Tensor& weight, WeightMode mode) const override {
    const WeightRecipe recipe = in_stage(recipe_, mode);
    at::Tensor values = centroids_.detach();
    at::Tensor index = assignment_.to(at::kLong);
    at::Tensor member = index;
    if (with_zero_) {
      values = values.clone();
      values.select(0, 0).zero_();
      index.masked_fill_(weight.detach() == 0, 0);
      member = index.masked_fill(index == 0, kNobody);
    }
    const at::Tensor largest = values.abs().amax().reshape({1});
    const at::Tensor scale = weight_scales(largest, recipe);
    const WeightShape row{{1, values.numel()}, 0, 1};
    const at::Tensor table =
        codes_of(values.reshape({1, -1}), scale, row, recipe.format()).flatten();
    const at::Tensor codes = table.index({index});
    return {{codes, scale.expand({shape_.channels()}).contiguous()},
            SharedWeight::apply(weight, centroids_, member)};
  }

  NamedTensors state() const override {
    return {{"centroids", centroids_}, {"assignment", assignment_}};
  }

 private:
  WeightRecipe recipe_;
  WeightShape shape_;
  bool with_zero_;
  at::Tensor centroids_;   // float32[values]
  at::Tensor assignment_;  // uint8, shaped like the weight
};

}  // namespace
}  // namespace qat::quantizers

namespace qat {

std::unique_ptr<WeightQuantizer> make_cluster_quantizer(const WeightRecipe& recipe,
                                                        const WeightShape& shape, int values,
                                                        bool with_zero) {
  return std::make_unique<quantizers::Cluster>(recipe, shape, values, with_zero);
}

}  // namespace qat
