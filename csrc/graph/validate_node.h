#pragma once
// One node under validation: access to its operands, and failures that name it.

#include <string>
#include <vector>

#include "graph/model.h"

namespace qat::graph {

class NodeCheck {
 public:
  // `index` is the node's place in the graph; its value indices have been checked.
  NodeCheck(const Model& model, size_t index, const std::string& origin)
      : model_(model), node_(model.graph.nodes[index]), index_(index), origin_(origin) {}

  [[noreturn]] void fail(const std::string& rule) const;
  void require(bool holds, const std::string& rule) const {
    if (!holds) fail(rule);
  }

  const Node& node() const { return node_; }
  const Value& input(size_t i = 0) const { return model_.graph.values[node_.inputs[i]]; }
  const Value& output(size_t i = 0) const { return model_.graph.values[node_.outputs[i]]; }

  void require_arity(size_t inputs) const;  // and one output
  void require_input_type(ElementType type, size_t i = 0) const;
  void require_output_type(ElementType type) const;
  void require_output_shape(const Shape& expected) const;
  // Layout operators: one type; on codes one scale, zero point and format.
  void require_same_parameters() const;
  // `size` entries, each at least `least`.
  void require_list(const char* name, const std::vector<int64_t>& list, size_t size,
                    int64_t least) const;
  void require_axis(const char* name, int64_t axis) const;  // of the input

  // The tensor of this key, which must have this type and shape.
  const Tensor& tensor(const char* role, const std::string& name, TensorType type,
                       const std::vector<int64_t>& shape) const;
  const Tensor& tensor(const char* role, const std::string& name) const;
  // float32[channels], all finite.
  void require_channel_floats(const char* role, const std::string& name, int64_t channels) const;

 private:
  const Model& model_;
  const Node& node_;
  size_t index_;
  const std::string& origin_;
};

void validate_operator(const NodeCheck& node, const ConvAttributes& a);
void validate_operator(const NodeCheck& node, const LinearAttributes& a);
void validate_operator(const NodeCheck& node, const MaxPoolAttributes& a);
void validate_operator(const NodeCheck& node, const AvgPoolAttributes& a);
void validate_operator(const NodeCheck& node, const AdaptiveAvgPoolAttributes& a);
void validate_operator(const NodeCheck& node, const MeanAttributes& a);
void validate_operator(const NodeCheck& node, const ConcatAttributes& a);
void validate_operator(const NodeCheck& node, const PadAttributes& a);
void validate_operator(const NodeCheck& node, const ReshapeAttributes& a);
void validate_operator(const NodeCheck& node, const PermuteAttributes& a);
void validate_operator(const NodeCheck& node, const SliceAttributes& a);
void validate_operator(const NodeCheck& node, const UpsampleNearestAttributes& a);
void validate_operator(const NodeCheck& node, const QuantizeAttributes& a);
void validate_operator(const NodeCheck& node, const DequantizeAttributes& a);
void validate_operator(const NodeCheck& node, const ActivationAttributes& a);
void validate_operator(const NodeCheck& node, const AffineAttributes& a);
void validate_operator(const NodeCheck& node, const BinaryAttributes& a);
void validate_operator(const NodeCheck& node, const LookupAttributes& a);
void validate_operator(const NodeCheck& node, const ConstantAttributes& a);
void validate_operator(const NodeCheck& node, const AtenAttributes& a);

}  // namespace qat::graph
