#include <cmath>
#include <nlohmann/json.hpp>

#include "error.h"
#include "graph/fields.h"
#include "graph/json.h"
#include "graph/spelling.h"

namespace qat::graph {
namespace {

using Json = nlohmann::ordered_json;

// JSON has no infinities; additive attention masks are full of them.
Json to_json(double value) {
  if (std::isfinite(value)) return value;
  return {{"float", std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf"}};
}

Json to_json(Affine size) {
  if (size.per_batch == 0) return size.constant;
  return Json::array({size.per_batch, size.constant});
}

Json to_json(const Shape& shape) {
  Json list = Json::array();
  for (const Affine size : shape) list.push_back(to_json(size));
  return list;
}

struct ArgumentToJson {
  Json operator()(const NoneArgument&) const { return nullptr; }
  Json operator()(const InputArgument& a) const { return {{"input", a.index}}; }
  Json operator()(const Affine& a) const {
    if (a.per_batch == 0) return a.constant;
    return {{"batch", to_json(a)}};
  }
  Json operator()(double a) const { return to_json(a); }
  Json operator()(bool a) const { return a; }
  Json operator()(const std::string& a) const { return {{"string", a}}; }
  Json operator()(const AtenList& a) const {
    Json list = Json::array();
    for (const AtenArgument& entry : a) list.push_back(std::visit(*this, entry.value));
    return list;
  }
};

class NodeWriter {
 public:
  NodeWriter(const Model& model, Json& node) : model_(model), node_(node) {}

  template <typename T>
  void operator()(const char* key, const T& value) {
    node_[key] = value;
  }
  void operator()(const char* key, float value) { node_[key] = to_json(double{value}); }
  void operator()(const char* key, numerics::ActivationKind kind) { node_[key] = spelling(kind); }
  void operator()(const char* key, Affine size) { node_[key] = to_json(size); }
  void operator()(const char* key, const Shape& shape) { node_[key] = to_json(shape); }
  void operator()(const char* key, const AtenList& list) { node_[key] = ArgumentToJson{}(list); }

  void tensor(const char* key, const std::string& name) { node_[key] = name; }
  void optional_tensor(const char* key, const std::string& name) {
    node_[key] = name.empty() ? Json(nullptr) : Json(name);
  }
  void weight(const std::string& name, numerics::IntFormat format) {
    node_["weight"] = name;
    node_["weight_format"] = spelling(format);
    node_["weight_shape"] = model_.tensors.at(name).shape;
  }

 private:
  const Model& model_;
  Json& node_;
};

class ScaleTable {
 public:
  explicit ScaleTable(std::vector<float>& scales) : scales_(scales) {}

  size_t index_of(float scale) {
    const auto [entry, is_new] = indices_.emplace(scale, scales_.size());
    if (is_new) scales_.push_back(scale);
    return entry->second;
  }

 private:
  std::vector<float>& scales_;
  std::map<float, size_t> indices_;
};

Json to_json(const Value& value, ScaleTable& scales) {
  Json json = {
      {"name", value.name}, {"type", spelling(value.type)}, {"shape", to_json(value.shape)}};
  if (value.type == ElementType::codes) {
    json["scale"] = scales.index_of(value.qparams.scale);
    json["zero_point"] = value.qparams.zero_point;
    json["format"] = spelling(value.format);
  }
  return json;
}

Json to_json(const Node& node, const Model& model) {
  Json json = {{"op", operator_name(node.attributes)},
               {"name", node.name},
               {"inputs", node.inputs},
               {"outputs", node.outputs}};
  NodeWriter writer(model, json);
  Attributes attributes = node.attributes;
  std::visit([&writer](auto& a) { fields(writer, a); }, attributes);
  return json;
}

}  // namespace

EncodedGraph encode(const Model& model, const std::string& origin) {
  EncodedGraph encoded;
  ScaleTable scales(encoded.scales);
  Json values = Json::array();
  for (const Value& value : model.graph.values) values.push_back(to_json(value, scales));
  Json nodes = Json::array();
  for (const Node& node : model.graph.nodes) nodes.push_back(to_json(node, model));
  const Json graph = {{"values", std::move(values)},
                      {"nodes", std::move(nodes)},
                      {"inputs", model.graph.inputs},
                      {"outputs", model.graph.outputs},
                      {"output_names", model.graph.output_names}};
  try {
    encoded.json = graph.dump();
  } catch (const Json::type_error&) {
    throw Error(origin + ": graph: names and strings must be UTF-8 text");
  }
  return encoded;
}

}  // namespace qat::graph
