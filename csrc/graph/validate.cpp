#include "graph/validate.h"

#include <cstdlib>
#include <set>

#include "error.h"
#include "graph/fields.h"
#include "graph/shapes.h"
#include "graph/spelling.h"
#include "graph/validate_node.h"

namespace qat::graph {
namespace {

std::string value_place(const Graph& graph, int64_t index, const std::string& origin) {
  return origin + ": value " + std::to_string(index) + " " + in_quotes(graph.values[index].name) +
         ": ";
}

std::string node_place(const Graph& graph, size_t index, const std::string& origin) {
  return origin + ": node " + std::to_string(index) + " " + in_quotes(graph.nodes[index].name) +
         " (" + operator_name(graph.nodes[index].attributes) + "): ";
}

void validate_codes(const Value& value, const std::string& place) {
  const numerics::IntFormat format = value.format;
  if (format.bits < numerics::kMinBits || format.bits > numerics::kMaxBits) {
    throw Error(place + "codes must have 2 to 8 bits, got " + std::to_string(format.bits));
  }
  if (format.narrow && !format.is_signed) {
    throw Error(place + "a narrow format must be signed, got an unsigned one");
  }
  const float scale = value.qparams.scale;
  if (!(scale >= numerics::kMinScale && scale <= numerics::kMaxScale)) {  // also NaN
    throw Error(place + "scale must be 2^-40 to 2^100, got " + std::to_string(scale));
  }
  const int32_t zero_point = value.qparams.zero_point;
  if (zero_point < format.quant_min() || zero_point > format.quant_max()) {
    throw Error(place + "zero point must be a code of " + spelling(format) + ", " +
                std::to_string(format.quant_min()) + " to " + std::to_string(format.quant_max()) +
                ", got " + std::to_string(zero_point));
  }
}

void validate_value(const Value& value, const std::string& place) {
  if (value.shape.size() > kMaxRank) {
    throw Error(place + "rank must be at most 8, got " + std::to_string(value.shape.size()));
  }
  if (!is_allocatable(value.shape)) {
    throw Error(place + "sizes must not be negative nor shrink with the batch, and make at most " +
                std::to_string(kMaxElements) + " elements at batch " +
                std::to_string(kSampleBatch) + ", got " + to_text(value.shape));
  }
  if (value.type == ElementType::codes) validate_codes(value, place);
}

// Which values are there so far, in execution order.
class Assignment {
 public:
  Assignment(const Graph& graph, const std::string& origin)
      : graph_(graph), origin_(origin), written_(graph.values.size()) {}

  void write(int64_t index, const std::string& place) {
    require_index(index, place);
    if (written_[index])
      throw Error(place + "value " + std::to_string(index) + " is written twice");
    written_[index] = true;
  }
  void read(int64_t index, const std::string& place) const {
    require_index(index, place);
    if (!written_[index]) {
      throw Error(place + "value " + std::to_string(index) + " is read before it is written");
    }
  }
  void require_all_written() const {
    for (size_t i = 0; i < written_.size(); ++i) {
      if (written_[i]) continue;
      throw Error(value_place(graph_, i, origin_) + "no node writes it and it is no graph input");
    }
  }

 private:
  void require_index(int64_t index, const std::string& place) const {
    if (index >= 0 && index < static_cast<int64_t>(written_.size())) return;
    throw Error(place + "index of a value must be below " + std::to_string(written_.size()) +
                ", got " + std::to_string(index));
  }

  const Graph& graph_;
  const std::string& origin_;
  std::vector<bool> written_;
};

void validate_order(const Graph& graph, const std::string& origin) {
  Assignment values(graph, origin);
  for (const int64_t index : graph.inputs) {
    values.write(index, origin + ": graph inputs: ");
    if (graph.values[index].type == ElementType::codes) {
      throw Error(value_place(graph, index, origin) +
                  "a graph input must be float32, int64 or boolean, got codes");
    }
  }
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const std::string place = node_place(graph, i, origin);
    for (const int64_t index : graph.nodes[i].inputs) values.read(index, place);
    for (const int64_t index : graph.nodes[i].outputs) values.write(index, place);
  }
  for (const int64_t index : graph.outputs) values.read(index, origin + ": graph outputs: ");
  values.require_all_written();
}

void validate_output_names(const Graph& graph, const std::string& origin) {
  const std::vector<std::string>& names = graph.output_names;
  if (names.empty()) return;
  if (names.size() != graph.outputs.size()) {
    throw Error(origin + ": output_names must be empty or have " +
                std::to_string(graph.outputs.size()) + " entries, one per output, got " +
                std::to_string(names.size()));
  }
  std::set<std::string> seen;
  for (const std::string& name : names) {
    if (!seen.insert(name).second) {
      throw Error(origin + ": output_names: " + in_quotes(name) + " stands twice");
    }
  }
}

// Bounds every integer attribute, so that later arithmetic cannot overflow, and collects the
// tensors that the node refers to.
class AttributeScan {
 public:
  AttributeScan(const NodeCheck& node, std::set<std::string>& tensors)
      : node_(node), tensors_(tensors) {}

  template <typename T>
  void operator()(const char*, const T&) {}
  void operator()(const char* key, int64_t value) {
    node_.require(value >= -kMaxAttribute && value <= kMaxAttribute,
                  std::string(key) + " must be at most " + std::to_string(kMaxAttribute) +
                      " in magnitude, got " + std::to_string(value));
  }
  void operator()(const char* key, const std::vector<int64_t>& values) {
    for (const int64_t value : values) (*this)(key, value);
  }
  void operator()(const char* key, Affine size) {
    for (const int64_t part : {size.per_batch, size.constant}) {
      node_.require(part >= -kMaxElements && part <= kMaxElements,
                    std::string(key) + " must be at most " + std::to_string(kMaxElements) +
                        " in magnitude, got " + to_text(size));
    }
  }
  void tensor(const char*, const std::string& name) { tensors_.insert(name); }
  void optional_tensor(const char*, const std::string& name) {
    if (!name.empty()) tensors_.insert(name);
  }
  void weight(const std::string& name, numerics::IntFormat) { tensors_.insert(name); }

 private:
  const NodeCheck& node_;
  std::set<std::string>& tensors_;
};

void validate_nodes(const Model& model, const std::string& origin) {
  std::set<std::string> used;
  for (size_t i = 0; i < model.graph.nodes.size(); ++i) {
    const NodeCheck node(model, i, origin);
    AttributeScan scan(node, used);
    std::visit(
        [&](const auto& attributes) {
          auto copy = attributes;
          fields(scan, copy);
          if (!std::is_same_v<std::decay_t<decltype(attributes)>, AtenAttributes>) {
            node.require(node.node().outputs.size() == 1,
                         "must have 1 output, got " + std::to_string(node.node().outputs.size()));
          }
          validate_operator(node, attributes);
        },
        model.graph.nodes[i].attributes);
  }
  for (const auto& [name, tensor] : model.tensors) {
    if (used.count(name) == 0) {
      throw Error(origin + ": tensor " + in_quotes(name) + ": no node uses it; remove it");
    }
  }
}

// A weight is packed by its format, so all nodes that share it must agree.
void validate_shared_weights(const Model& model, const std::string& origin) {
  std::map<std::string, numerics::IntFormat> formats;
  for (size_t i = 0; i < model.graph.nodes.size(); ++i) {
    const Attributes& attributes = model.graph.nodes[i].attributes;
    const auto note = [&](const std::string& name, numerics::IntFormat format) {
      const auto [entry, is_new] = formats.emplace(name, format);
      if (is_new || entry->second == format) return;
      throw Error(node_place(model.graph, i, origin) + "weight " + in_quotes(name) +
                  " has format " + spelling(entry->second) + " in another node, got " +
                  spelling(format));
    };
    if (const auto* conv = std::get_if<ConvAttributes>(&attributes)) {
      note(conv->weight, conv->weight_format);
    }
    if (const auto* linear = std::get_if<LinearAttributes>(&attributes)) {
      note(linear->weight, linear->weight_format);
    }
  }
}

}  // namespace

void validate(const Model& model, const std::string& origin) {
  for (const auto& [name, tensor] : model.tensors) {
    validate_tensor(name, tensor, origin);
    if (name == kActivationScales) {
      throw Error(origin + ": tensor '" + name + "': the name is reserved for the file's scales");
    }
  }
  for (size_t i = 0; i < model.graph.values.size(); ++i) {
    validate_value(model.graph.values[i], value_place(model.graph, i, origin));
  }
  validate_order(model.graph, origin);
  validate_output_names(model.graph, origin);
  validate_nodes(model, origin);
  validate_shared_weights(model, origin);
}

}  // namespace qat::graph
