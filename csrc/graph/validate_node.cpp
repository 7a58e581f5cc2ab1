#include "graph/validate_node.h"

#include <cmath>

#include "error.h"
#include "graph/spelling.h"

namespace qat::graph {

void NodeCheck::fail(const std::string& rule) const {
  throw Error(origin_ + ": node " + std::to_string(index_) + " " + in_quotes(node_.name) + " (" +
              operator_name(node_.attributes) + "): " + rule);
}

void NodeCheck::require_arity(size_t inputs) const {
  require(node_.inputs.size() == inputs, "must have " + std::to_string(inputs) + " inputs, got " +
                                             std::to_string(node_.inputs.size()));
  require(node_.outputs.size() == 1,
          "must have 1 output, got " + std::to_string(node_.outputs.size()));
}

void NodeCheck::require_input_type(ElementType type, size_t i) const {
  require(input(i).type == type, "input " + std::to_string(i) + " must be " + spelling(type) +
                                     ", got " + spelling(input(i).type));
}

void NodeCheck::require_output_type(ElementType type) const {
  require(output().type == type,
          std::string("output must be ") + spelling(type) + ", got " + spelling(output().type));
}

void NodeCheck::require_output_shape(const Shape& expected) const {
  require(output().shape == expected,
          "output must have shape " + to_text(expected) + ", got " + to_text(output().shape));
}

void NodeCheck::require_same_parameters() const {
  for (size_t i = 0; i < node_.inputs.size(); ++i) {
    require_input_type(output().type, i);
    if (output().type != ElementType::codes) continue;
    require(input(i).qparams == output().qparams && input(i).format == output().format,
            "codes are moved, so input " + std::to_string(i) +
                " and output must have the same scale, zero point and format, got " +
                spelling(input(i).format) + " with zero point " +
                std::to_string(input(i).qparams.zero_point) + " and scale " +
                std::to_string(input(i).qparams.scale) + ", and " + spelling(output().format) +
                " with " + std::to_string(output().qparams.zero_point) + " and " +
                std::to_string(output().qparams.scale));
  }
}

void NodeCheck::require_list(const char* name, const std::vector<int64_t>& list, size_t size,
                             int64_t least) const {
  require(list.size() == size, std::string(name) + " must have " + std::to_string(size) +
                                   " entries, got " + to_text(list));
  for (const int64_t entry : list) {
    require(entry >= least, std::string(name) + " must be at least " + std::to_string(least) +
                                " on every axis, got " + to_text(list));
  }
}

void NodeCheck::require_axis(const char* name, int64_t axis) const {
  const int64_t rank = input().shape.size();
  require(axis >= 0 && axis < rank, std::string(name) + " must be 0 to " +
                                        std::to_string(rank - 1) + ", got " + std::to_string(axis));
}

const Tensor& NodeCheck::tensor(const char* role, const std::string& name) const {
  const auto entry = model_.tensors.find(name);
  if (entry == model_.tensors.end()) {
    fail(std::string(role) + ": there is no tensor " + in_quotes(name));
  }
  return entry->second;
}

const Tensor& NodeCheck::tensor(const char* role, const std::string& name, TensorType type,
                                const std::vector<int64_t>& shape) const {
  const Tensor& found = tensor(role, name);
  require(found.type == type && found.shape == shape,
          std::string(role) + " " + in_quotes(name) + " must be " + spelling(type) + " " +
              to_text(shape) + ", got " + spelling(found.type) + " " + to_text(found.shape));
  return found;
}

void NodeCheck::require_channel_floats(const char* role, const std::string& name,
                                       int64_t channels) const {
  const Tensor& found = tensor(role, name, TensorType::float32, {channels});
  const float* entries = found.data<float>();
  for (int64_t i = 0; i < channels; ++i) {
    if (std::isfinite(entries[i])) continue;
    fail(std::string(role) + " " + in_quotes(name) + " must be finite, got " +
         std::to_string(entries[i]) + " at [" + std::to_string(i) + "]");
  }
}

}  // namespace qat::graph
