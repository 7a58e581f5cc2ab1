#include "runtime/session.h"

#include <optional>

#include "error.h"
#include "runtime/parallel.h"
#include "runtime/quantize_ranges.h"

namespace qat::runtime {
namespace {

std::string input_name(const graph::Graph& graph, size_t i) {
  const auto& value = graph.values[static_cast<size_t>(graph.inputs[i])];
  return "input " + std::to_string(i) + " ('" + value.name + "')";
}

const graph::Value& input_value(const graph::Graph& graph, size_t i) {
  return graph.values[static_cast<size_t>(graph.inputs[i])];
}

struct Batch {
  int64_t size = 1;
  size_t from = 0;  // the input that gave it
};

[[noreturn]] void wrong_shape(const graph::Graph& graph, size_t i, const Sizes& got,
                              const std::optional<Batch>& batch) {
  std::string message =
      input_name(graph, i) + ": expected shape " + to_string(input_value(graph, i).shape);
  if (batch && batch->from != i) {
    message +=
        " with B = " + std::to_string(batch->size) + " from " + input_name(graph, batch->from);
  }
  throw Error(message + ", got " + to_string(got));
}

std::optional<Batch> find_batch(const graph::Graph& graph, const std::vector<Tensor>& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const graph::Shape& shape = input_value(graph, i).shape;
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      const auto [per_batch, constant] = shape[axis];
      if (per_batch == 0) continue;
      const int64_t rest = inputs[i].shape[axis] - constant;
      if (rest % per_batch != 0 || rest / per_batch < 0) {
        wrong_shape(graph, i, inputs[i].shape, std::nullopt);
      }
      return Batch{rest / per_batch, i};
    }
  }
  return std::nullopt;
}

void check_kind(const graph::Graph& graph, size_t i, const Tensor& input) {
  const graph::Value& value = input_value(graph, i);
  const TensorType expected =
      value.type == graph::ElementType::codes ? TensorType::float32 : storage_type(value);
  if (input.type != expected) {
    throw Error(input_name(graph, i) + ": expected " + to_string(expected) + ", got " +
                to_string(input.type));
  }
  if (input.shape.size() != value.shape.size()) {
    wrong_shape(graph, i, input.shape, std::nullopt);
  }
  for (const int64_t size : input.shape) {
    if (size < 0) wrong_shape(graph, i, input.shape, std::nullopt);
  }
  const size_t bytes = static_cast<size_t>(input.numel()) * graph::element_size(input.type);
  if (input.bytes.size() != bytes) {
    throw Error(input_name(graph, i) + ": shape " + to_string(input.shape) + " of " +
                to_string(input.type) + " takes " + std::to_string(bytes) + " bytes, got " +
                std::to_string(input.bytes.size()));
  }
}

// How many inputs an operator reads; -1: any number.
int64_t arity(const graph::Attributes& attributes) {
  if (std::holds_alternative<graph::AtenAttributes>(attributes)) return -1;
  if (std::holds_alternative<graph::ConcatAttributes>(attributes)) return -1;
  if (std::holds_alternative<graph::BinaryAttributes>(attributes)) return 2;
  return std::holds_alternative<graph::ConstantAttributes>(attributes) ? 0 : 1;
}

void check_arity(const graph::Node& node) {
  const bool is_aten = std::holds_alternative<graph::AtenAttributes>(node.attributes);
  const int64_t expected = arity(node.attributes);
  const auto inputs = static_cast<int64_t>(node.inputs.size());
  if (expected >= 0 && inputs != expected) {
    fail(node, "needs " + std::to_string(expected) + " inputs, got " + std::to_string(inputs));
  }
  if (expected < 0 && !is_aten && inputs == 0) fail(node, "needs an input, got none");
  if (is_aten ? node.outputs.empty() : node.outputs.size() != 1) {
    fail(node, "needs one output, got " + std::to_string(node.outputs.size()));
  }
}

}  // namespace

int64_t check_inputs(const graph::Graph& graph, const std::vector<Tensor>& inputs) {
  if (inputs.size() != graph.inputs.size()) {
    throw Error("expected " + std::to_string(graph.inputs.size()) + " inputs, got " +
                std::to_string(inputs.size()));
  }
  for (size_t i = 0; i < inputs.size(); ++i) check_kind(graph, i, inputs[i]);
  const std::optional<Batch> batch = find_batch(graph, inputs);
  const int64_t size = batch ? batch->size : 1;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].shape != shape_at(input_value(graph, i).shape, size)) {
      wrong_shape(graph, i, inputs[i].shape, batch);
    }
  }
  return size;
}

Tensor bind_input(const graph::Value& value, const Tensor& input, int threads) {
  if (value.type != graph::ElementType::codes) return input;
  Tensor codes = make_tensor(storage_type(value), input.shape);
  parallel_for(threads, codes.numel(), kElementGrain, [&](int64_t begin, int64_t end) {
    quantize_range(input.data<float>() + begin, codes.data<uint8_t>() + begin, end - begin,
                   value.qparams, value.format);
  });
  return codes;
}

void check_output(const graph::Node& node, const graph::Value& value, const Tensor& made,
                  int64_t batch, Layout layout) {
  const Sizes expected = physical_shape(shape_at(value.shape, batch), layout);
  if (made.type == storage_type(value) && made.shape == expected) return;
  fail(node, std::string("made ") + to_string(made.type) + to_string(made.shape) +
                 ", the graph says " + to_string(storage_type(value)) + to_string(expected));
}

void check_structure(const graph::Graph& graph) {
  std::vector<bool> computed(graph.values.size(), false);
  const auto exists = [&](int64_t value) {
    return value >= 0 && value < static_cast<int64_t>(computed.size());
  };
  for (const int64_t input : graph.inputs) {
    if (!exists(input)) throw Error("graph: input " + std::to_string(input) + " is no value");
    computed[static_cast<size_t>(input)] = true;
  }
  for (const graph::Node& node : graph.nodes) {
    check_arity(node);
    for (const int64_t input : node.inputs) {
      if (!exists(input) || !computed[static_cast<size_t>(input)]) {
        fail(node, "reads value " + std::to_string(input) + " before it is computed");
      }
    }
    for (const int64_t output : node.outputs) {
      if (!exists(output) || computed[static_cast<size_t>(output)]) {
        fail(node, "writes value " + std::to_string(output) + ", which is none or written twice");
      }
      computed[static_cast<size_t>(output)] = true;
    }
  }
  for (const int64_t output : graph.outputs) {
    if (!exists(output) || !computed[static_cast<size_t>(output)]) {
      throw Error("graph: output value " + std::to_string(output) + " is never computed");
    }
  }
}

std::vector<std::vector<int64_t>> dead_after(const graph::Graph& graph) {
  std::vector<bool> needed(graph.values.size(), false);
  for (const int64_t output : graph.outputs) needed[static_cast<size_t>(output)] = true;
  std::vector<std::vector<int64_t>> dead(graph.nodes.size());
  for (size_t i = graph.nodes.size(); i-- > 0;) {
    const auto release = [&](const std::vector<int64_t>& values) {
      for (const int64_t value : values) {
        if (needed[static_cast<size_t>(value)]) continue;
        needed[static_cast<size_t>(value)] = true;
        dead[i].push_back(value);
      }
    };
    release(graph.nodes[i].inputs);
    release(graph.nodes[i].outputs);
  }
  return dead;
}

}  // namespace qat::runtime
