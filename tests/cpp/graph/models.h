#pragma once
// Models for the tests of the graph and the checkpoint.

#include "graph/model.h"

namespace qat::testing {

// Appends values, nodes and tensors to a model.
class ModelBuilder {
 public:
  int64_t floats(const std::string& name, graph::Shape shape);
  int64_t value(const std::string& name, graph::ElementType type, graph::Shape shape);
  int64_t codes(const std::string& name, graph::Shape shape, numerics::QuantParams qparams,
                numerics::IntFormat format = numerics::kUint8);
  // One more value with the type and parameters of `like`.
  int64_t same(const std::string& name, int64_t like, graph::Shape shape);
  void node(const std::string& name, graph::Attributes attributes, std::vector<int64_t> inputs,
            std::vector<int64_t> outputs);

  // Codes that run through all of the format; floats 0.5, 1.5, ...; each returns the name.
  std::string weight(const std::string& name, std::vector<int64_t> shape,
                     numerics::IntFormat format);
  std::string channel(const std::string& name, int64_t channels);
  std::string tensor(const std::string& name, graph::TensorType type, std::vector<int64_t> shape);

  graph::Model model;
};

constexpr graph::Affine kBatch{1, 0};
constexpr graph::Affine fixed(int64_t size) { return {0, size}; }

// Every operator, with weights of `bits` bits (full range, below 8; narrow at 8).
graph::Model every_operator(int bits = 8);

// quantize, conv 1x1 with one channel of 4-bit weights, clamp: a file of a few hundred bytes.
graph::Model tiny_model();

// The node of this name.
graph::Node& node_named(graph::Model& model, const std::string& name);
graph::Value& value_named(graph::Model& model, const std::string& name);

}  // namespace qat::testing
