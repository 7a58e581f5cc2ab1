#pragma once
// The operators of graph.h as plain loops over tensors. The reference executor is made of them
// alone; the fast executor takes those for which it has no kernel of its own.

#include <functional>
#include <string>
#include <vector>

#include "runtime/views.h"

namespace qat::runtime {

// Where an operator stands. Model and node must outlive the operators made from them.
struct Site {
  const graph::Model& model;
  const graph::Node& node;

  const graph::Value& input(size_t i) const {
    return model.graph.values[static_cast<size_t>(node.inputs.at(i))];
  }
  const graph::Value& output() const {
    return model.graph.values[static_cast<size_t>(node.outputs.at(0))];
  }
};

// Checks the node's tensors and prepares what does not depend on the input. For every operator but
// `aten`, whose results ATen allocates.
Binder make_operator(const Site& site);

Binder make_quantize(const Site& site);
Binder make_dequantize(const Site& site);
Binder make_conv(const Site& site, const graph::ConvAttributes& attributes);
Binder make_linear(const Site& site, const graph::LinearAttributes& attributes);
Binder make_activation(const Site& site, const graph::ActivationAttributes& attributes);
Binder make_affine(const Site& site, const graph::AffineAttributes& attributes);
Binder make_binary(const Site& site, const graph::BinaryAttributes& attributes);
Binder make_max_pool(const Site& site, const graph::MaxPoolAttributes& attributes);
Binder make_avg_pool(const Site& site, const graph::AvgPoolAttributes& attributes);
Binder make_adaptive_avg_pool(const Site& site, const graph::AdaptiveAvgPoolAttributes& attributes);
Binder make_mean(const Site& site, const graph::MeanAttributes& attributes);
Binder make_lookup(const Site& site, const graph::LookupAttributes& attributes);
Binder make_concat(const Site& site, const graph::ConcatAttributes& attributes);
Binder make_pad(const Site& site, const graph::PadAttributes& attributes);
Binder make_reshape(const Site& site, const graph::ReshapeAttributes& attributes);
Binder make_permute(const Site& site, const graph::PermuteAttributes& attributes);
Binder make_slice(const Site& site, const graph::SliceAttributes& attributes);
Binder make_upsample_nearest(const Site& site, const graph::UpsampleNearestAttributes& attributes);
Binder make_constant(const Site& site, const graph::ConstantAttributes& attributes);

// The tensor of a constant node.
const Tensor& constant_tensor(const Site& site, const graph::ConstantAttributes& attributes);

using Inputs = std::vector<const Tensor*>;
using AtenOperator =
    std::function<std::vector<Tensor>(const Inputs& inputs, int64_t batch, MacCount& macs)>;
AtenOperator make_aten(const Site& site, const graph::AtenAttributes& attributes,
                       const AtenEvaluator& evaluator);

}  // namespace qat::runtime
