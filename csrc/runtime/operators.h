#pragma once
// The operators of graph.h as plain functions of tensors. The reference executor is made of them
// alone; the fast executor takes those for which it has no kernel of its own.

#include <functional>
#include <string>
#include <vector>

#include "runtime/executor.h"
#include "runtime/tensors.h"

namespace qat::runtime {

using Inputs = std::vector<const Tensor*>;
using Operator =
    std::function<std::vector<Tensor>(const Inputs& inputs, int64_t batch, MacCount& macs)>;

// Where an operator stands. Model and node must outlive the operators made from them.
struct Site {
  const graph::Model& model;
  const graph::Node& node;
  int threads = 1;
  // The axis that holds the channels of `affine` and `activation`. Graph shapes have it at 1; the
  // fast executor runs channels-last tensors as [N, H, W, C].
  int64_t channel_axis = 1;

  const graph::Value& input(size_t i) const {
    return model.graph.values[static_cast<size_t>(node.inputs.at(i))];
  }
  const graph::Value& output() const {
    return model.graph.values[static_cast<size_t>(node.outputs.at(0))];
  }
};

// Checks the node's tensors and prepares what does not depend on the input.
Operator make_operator(const Site& site, const AtenEvaluator& aten);

Operator make_quantize(const Site& site);
Operator make_dequantize(const Site& site);
Operator make_conv(const Site& site, const graph::ConvAttributes& attributes);
Operator make_linear(const Site& site, const graph::LinearAttributes& attributes);
Operator make_activation(const Site& site, const graph::ActivationAttributes& attributes);
Operator make_affine(const Site& site, const graph::AffineAttributes& attributes);
Operator make_binary(const Site& site, const graph::BinaryAttributes& attributes);
Operator make_max_pool(const Site& site, const graph::MaxPoolAttributes& attributes);
Operator make_avg_pool(const Site& site, const graph::AvgPoolAttributes& attributes);
Operator make_adaptive_avg_pool(const Site& site,
                                const graph::AdaptiveAvgPoolAttributes& attributes);
Operator make_mean(const Site& site, const graph::MeanAttributes& attributes);
Operator make_lookup(const Site& site, const graph::LookupAttributes& attributes);
Operator make_concat(const Site& site, const graph::ConcatAttributes& attributes);
Operator make_pad(const Site& site, const graph::PadAttributes& attributes);
Operator make_reshape(const Site& site, const graph::ReshapeAttributes& attributes);
Operator make_permute(const Site& site, const graph::PermuteAttributes& attributes);
Operator make_slice(const Site& site, const graph::SliceAttributes& attributes);
Operator make_upsample_nearest(const Site& site,
                               const graph::UpsampleNearestAttributes& attributes);
Operator make_constant(const Site& site, const graph::ConstantAttributes& attributes);
Operator make_aten(const Site& site, const graph::AtenAttributes& attributes,
                   const AtenEvaluator& evaluator);

// Rule 2 on a whole tensor, into codes of the value's format.
Tensor quantize_tensor(const Tensor& input, const graph::Value& value, int threads);

// Vectors of one tensor, without the copy that an initializer list makes.
inline std::vector<Tensor> only(Tensor tensor) {
  std::vector<Tensor> list;
  list.push_back(std::move(tensor));
  return list;
}

}  // namespace qat::runtime
