#pragma once
// Small helpers for dense tensors and for messages that name a node.

#include <cstdint>
#include <string>
#include <vector>

#include "graph/model.h"

namespace qat::runtime {

using graph::Tensor;
using graph::TensorType;
using Sizes = std::vector<int64_t>;

Tensor make_tensor(TensorType type, Sizes shape);
int64_t product(const Sizes& sizes);
Sizes row_major_strides(const Sizes& shape);
Sizes shape_at(const graph::Shape& shape, int64_t batch);

// How the elements of a graph value are held in memory.
TensorType storage_type(const graph::Value& value);

std::string to_string(const Sizes& shape);         // "[4, 3, 32, 32]"
std::string to_string(const graph::Shape& shape);  // "[B, 3, 28, 28]"
const char* to_string(TensorType type);

// Throws qat::Error "node 'layer1.conv' (conv): <message>".
[[noreturn]] void fail(const graph::Node& node, const std::string& message);

// The checkpoint tensor that a node names; fails if it is missing or of another type or shape.
const Tensor& node_tensor(const graph::Model& model, const graph::Node& node,
                          const std::string& name, TensorType type, const Sizes& shape);

}  // namespace qat::runtime
