#include <utility>

#include "error.h"
#include "graph/fields.h"
#include "graph/json.h"
#include "graph/json_elements.h"
#include "graph/spelling.h"
#include "graph/strict_json.h"

namespace qat::graph {
namespace {

using nlohmann::json;
using Weights = std::map<std::string, WeightLayout>;

class NodeReader {
 public:
  NodeReader(ObjectReader& node, Weights& weights) : node_(node), weights_(weights) {}

  void operator()(const char* key, bool& value) { value = node_.boolean(key); }
  void operator()(const char* key, int64_t& value) { value = node_.integer(key); }
  void operator()(const char* key, int32_t& value) { read(key, value, int32_from); }
  void operator()(const char* key, float& value) { read(key, value, float32_from); }
  void operator()(const char* key, std::string& value) { value = node_.string(key); }
  void operator()(const char* key, std::vector<int64_t>& value) { value = node_.integers(key); }
  void operator()(const char* key, Affine& value) { read(key, value, size_from); }
  void operator()(const char* key, Shape& value) { read(key, value, shape_from); }
  void operator()(const char* key, AtenList& value) { read(key, value, arguments_from); }
  void operator()(const char* key, numerics::ActivationKind& value) {
    const std::string text = node_.string(key);
    const auto kind = parse_activation_kind(text);
    if (!kind) throw Error(node_.place_of(key) + ": unknown activation " + in_quotes(text));
    value = *kind;
  }

  void tensor(const char* key, std::string& name) {
    name = node_.string(key);
    if (name.empty()) throw Error(node_.place_of(key) + ": the name of a tensor is empty");
  }
  void optional_tensor(const char* key, std::string& name) {
    if (!node_.at(key).is_null()) tensor(key, name);
  }
  void weight(std::string& name, numerics::IntFormat& format) {
    tensor("weight", name);
    read("weight_format", format, format_from);
    const WeightLayout layout{format, node_.integers("weight_shape")};
    const auto [entry, is_new] = weights_.emplace(name, layout);
    if (!is_new && (entry->second.format != format || entry->second.shape != layout.shape)) {
      throw Error(node_.place_of("weight") + ": two nodes give weight " + in_quotes(name) +
                  " different formats or shapes");
    }
  }

 private:
  template <typename T>
  void read(const char* key, T& value, T (*from)(const json&, const std::string&)) {
    value = from(node_.at(key), node_.place_of(key));
  }

  ObjectReader& node_;
  Weights& weights_;
};

float scale_from(ObjectReader& value, const std::vector<float>& scales, std::vector<bool>& used) {
  const int64_t index = value.integer("scale");
  if (index < 0 || index >= static_cast<int64_t>(scales.size())) {
    throw Error(value.place_of("scale") + ": index must be below " + std::to_string(scales.size()) +
                ", the length of activation_scales, got " + std::to_string(index));
  }
  used[index] = true;
  return scales[index];
}

Value value_from(const json& source, const std::vector<float>& scales, std::vector<bool>& used,
                 const std::string& place) {
  ObjectReader object(source, place);
  Value value;
  value.name = object.string("name");
  const std::string type = object.string("type");
  const auto element_type = parse_element_type(type);
  if (!element_type) throw Error(object.place_of("type") + ": unknown type " + in_quotes(type));
  value.type = *element_type;
  value.shape = shape_from(object.at("shape"), object.place_of("shape"));
  if (value.type == ElementType::codes) {
    value.qparams.scale = scale_from(object, scales, used);
    value.qparams.zero_point = int32_from(object.at("zero_point"), object.place_of("zero_point"));
    value.format = format_from(object.at("format"), object.place_of("format"));
  }
  object.finish();
  return value;
}

Node node_from(const json& source, Weights& weights, const std::string& place) {
  ObjectReader object(source, place);
  const std::string op = object.string("op");
  auto attributes = default_attributes(op);
  if (!attributes) throw Error(object.place_of("op") + ": unknown operator " + in_quotes(op));
  Node node;
  node.name = object.string("name");
  node.inputs = object.integers("inputs");
  node.outputs = object.integers("outputs");
  NodeReader reader(object, weights);
  std::visit([&reader](auto& a) { fields(reader, a); }, *attributes);
  object.finish();
  node.attributes = std::move(*attributes);
  return node;
}

}  // namespace

DecodedGraph decode(const std::string& text, const std::vector<float>& scales,
                    const std::string& place) {
  const json source = parse_strict_json(text, place);
  ObjectReader object(source, place);
  DecodedGraph decoded;
  Graph& graph = decoded.graph;
  std::vector<bool> used(scales.size());
  for (const json& value : object.array("values")) {
    const std::string here = place + ": values[" + std::to_string(graph.values.size()) + "]";
    graph.values.push_back(value_from(value, scales, used, here));
  }
  for (const json& node : object.array("nodes")) {
    const std::string here = place + ": nodes[" + std::to_string(graph.nodes.size()) + "]";
    graph.nodes.push_back(node_from(node, decoded.weights, here));
  }
  graph.inputs = object.integers("inputs");
  graph.outputs = object.integers("outputs");
  for (const json& name : object.array("output_names")) {
    graph.output_names.push_back(string_from(name, object.place_of("output_names")));
  }
  object.finish();
  for (size_t i = 0; i < used.size(); ++i) {
    if (!used[i])
      throw Error(place + ": no value uses activation_scales[" + std::to_string(i) + "]");
  }
  return decoded;
}

}  // namespace qat::graph
