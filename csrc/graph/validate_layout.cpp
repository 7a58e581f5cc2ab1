// Operators that move elements and change none.

#include "graph/shapes.h"
#include "graph/spelling.h"
#include "graph/validate_node.h"

namespace qat::graph {

void validate_operator(const NodeCheck& node, const ConcatAttributes& a) {
  node.require(!node.node().inputs.empty(), "must have at least 1 input, got 0");
  node.require_arity(node.node().inputs.size());
  node.require_same_parameters();
  node.require_axis("axis", a.axis);
  Shape expected = node.input().shape;
  expected[a.axis] = {0, 0};
  for (size_t i = 0; i < node.node().inputs.size(); ++i) {
    Shape part = node.input(i).shape;
    node.require(part.size() == expected.size(), "inputs must have the same rank, got " +
                                                     to_text(node.input().shape) + " and " +
                                                     to_text(part));
    expected[a.axis].per_batch += part[a.axis].per_batch;
    expected[a.axis].constant += part[a.axis].constant;
    part[a.axis] = node.input().shape[a.axis];
    node.require(part == node.input().shape, "inputs must have the same shape but for axis " +
                                                 std::to_string(a.axis) + ", got " +
                                                 to_text(node.input().shape) + " and " +
                                                 to_text(node.input(i).shape));
  }
  node.require_output_shape(expected);
}

void validate_operator(const NodeCheck& node, const PadAttributes& a) {
  node.require_arity(1);
  node.require_same_parameters();
  Shape expected = node.input().shape;
  node.require_list("before", a.before, expected.size(), 0);
  node.require_list("after", a.after, expected.size(), 0);
  for (size_t i = 0; i < expected.size(); ++i) expected[i].constant += a.before[i] + a.after[i];
  node.require_output_shape(expected);
  const bool is_codes = node.output().type == ElementType::codes;
  const int32_t least = is_codes ? node.output().format.quant_min() : 0;
  const int32_t most = is_codes ? node.output().format.quant_max() : 0;
  node.require(a.code >= least && a.code <= most, "code must be " + std::to_string(least) + " to " +
                                                      std::to_string(most) + ", got " +
                                                      std::to_string(a.code));
}

void validate_operator(const NodeCheck& node, const ReshapeAttributes& a) {
  node.require_arity(1);
  node.require_same_parameters();
  node.require_output_shape(a.shape);
  node.require(same_element_count(node.input().shape, a.shape),
               "input and output must have as many elements, got " + to_text(node.input().shape) +
                   " and " + to_text(a.shape));
}

void validate_operator(const NodeCheck& node, const PermuteAttributes& a) {
  node.require_arity(1);
  node.require_same_parameters();
  const Shape& input = node.input().shape;
  std::vector<bool> taken(input.size());
  Shape expected;
  node.require_list("axes", a.axes, input.size(), 0);
  for (const int64_t axis : a.axes) {
    node.require_axis("axes", axis);
    node.require(!taken[axis], "axes must be a permutation, got " + to_text(a.axes));
    taken[axis] = true;
    expected.push_back(input[axis]);
  }
  node.require_output_shape(expected);
}

void validate_operator(const NodeCheck& node, const SliceAttributes& a) {
  node.require_arity(1);
  node.require_same_parameters();
  node.require_axis("axis", a.axis);
  node.require(a.step >= 1, "step must be at least 1, got " + std::to_string(a.step));
  Shape expected = node.input().shape;
  const int64_t start = a.start.at(kSampleBatch);
  const int64_t stop = a.stop.at(kSampleBatch);
  node.require(start >= 0 && start <= stop && stop <= expected[a.axis].at(kSampleBatch),
               "start and stop must lie in order within the axis, got " + to_text(a.start) +
                   " and " + to_text(a.stop) + " on input " + to_text(expected));
  Affine size{a.stop.per_batch - a.start.per_batch, a.stop.constant - a.start.constant};
  if (a.step > 1) {
    node.require(is_constant(size), "a slice whose length depends on the batch must have step 1");
    size.constant = (size.constant + a.step - 1) / a.step;
  }
  expected[a.axis] = size;
  node.require_output_shape(expected);
}

void validate_operator(const NodeCheck& node, const UpsampleNearestAttributes& a) {
  node.require_arity(1);
  node.require_same_parameters();
  Shape expected = node.input().shape;
  node.require(!a.factor.empty() && a.factor.size() <= expected.size(),
               "factor must have 1 to " + std::to_string(expected.size()) + " entries, got " +
                   to_text(a.factor));
  node.require_list("factor", a.factor, a.factor.size(), 1);
  for (size_t i = 0; i < a.factor.size(); ++i) {
    Affine& size = expected[expected.size() - a.factor.size() + i];
    node.require(is_constant(size),
                 "upsampled sizes must be constant, got input " + to_text(node.input().shape));
    size.constant *= a.factor[i];
  }
  node.require_output_shape(expected);
}

}  // namespace qat::graph
