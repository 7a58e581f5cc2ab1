#include "checkpoint/checkpoint.h"

#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "checkpoint/digest.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/weights.h"
#include "error.h"
#include "graph/json.h"
#include "graph/json_reader.h"
#include "graph/spelling.h"
#include "graph/strict_json.h"
#include "graph/validate.h"

namespace qat::checkpoint {
namespace {

using graph::Tensor;
using graph::TensorType;
using safetensors::Entry;
using safetensors::File;

constexpr std::array kMetadataKeys = {"format", "graph", "numerics", "provenance", "sha256"};

struct Dtype {
  const char* name;
  TensorType type;
};
constexpr std::array kDtypes = {Dtype{"I8", TensorType::int8}, Dtype{"U8", TensorType::uint8},
                                Dtype{"F32", TensorType::float32}, Dtype{"I64", TensorType::int64},
                                Dtype{"BOOL", TensorType::boolean}};

const char* dtype_name(TensorType type) {
  for (const Dtype& dtype : kDtypes) {
    if (dtype.type == type) return dtype.name;
  }
  return "unknown";
}

std::string format_name() { return "qat_ext/" + std::to_string(kFormatVersion); }

std::string to_string(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<std::byte> to_bytes(const std::string& text) {
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

// ---- writing -----------------------------------------------------------------------------------

std::map<std::string, numerics::IntFormat> weight_formats(const graph::Graph& graph) {
  std::map<std::string, numerics::IntFormat> formats;
  for (const graph::Node& node : graph.nodes) {
    if (const auto* conv = std::get_if<graph::ConvAttributes>(&node.attributes)) {
      formats[conv->weight] = conv->weight_format;
    } else if (const auto* linear = std::get_if<graph::LinearAttributes>(&node.attributes)) {
      formats[linear->weight] = linear->weight_format;
    }
  }
  return formats;
}

Entry scales_entry(const std::vector<float>& scales) {
  std::string bytes(scales.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), scales.data(), bytes.size());
  return {"F32", {static_cast<int64_t>(scales.size())}, std::move(bytes)};
}

std::string provenance_text(const graph::Provenance& provenance, const std::string& origin) {
  try {
    return nlohmann::json(provenance).dump();
  } catch (const nlohmann::json::type_error&) {
    throw Error(origin + ": provenance: keys and values must be UTF-8 text");
  }
}

std::string serialize_as(const graph::Model& model, const std::string& origin) {
  graph::validate(model, origin);
  graph::EncodedGraph encoded = graph::encode(model, origin);
  const auto formats = weight_formats(model.graph);
  File file;
  for (const auto& [name, tensor] : model.tensors) {
    const auto weight = formats.find(name);
    if (weight == formats.end()) {
      file.tensors[name] = {dtype_name(tensor.type), tensor.shape, to_string(tensor.bytes)};
      continue;
    }
    for (const std::string& suffix : weight_suffixes()) {
      if (model.tensors.count(name + suffix) == 0) continue;
      throw Error(origin + ": tensor " + graph::in_quotes(name + suffix) +
                  ": the name is reserved for a form of that weight; rename the tensor");
    }
    add_weight(file, name, tensor, weight->second);
  }
  if (!encoded.scales.empty()) {
    file.tensors[graph::kActivationScales] = scales_entry(encoded.scales);
  }
  file.metadata = {{"format", format_name()},
                   {"graph", std::move(encoded.json)},
                   {"numerics", std::to_string(kNumericsVersion)},
                   {"provenance", provenance_text(model.provenance, origin)},
                   {"sha256", blank_digest()}};
  std::string bytes = safetensors::serialize(file);
  insert_digest(bytes);
  return bytes;
}

// ---- reading -----------------------------------------------------------------------------------

void require_metadata_keys(const File& file, const std::string& origin) {
  for (const char* key : kMetadataKeys) {
    if (file.metadata.count(key) == 0) {
      throw Error(origin + ": __metadata__: key '" + key +
                  "' is missing; is this a checkpoint of qat_ext?");
    }
  }
  for (const auto& [key, value] : file.metadata) {
    bool known = false;
    for (const char* name : kMetadataKeys) known = known || key == name;
    if (!known) throw Error(origin + ": __metadata__: unknown key " + graph::in_quotes(key));
  }
}

void require_version(const File& file, const char* key, const std::string& expected,
                     const std::string& origin) {
  const std::string& found = file.metadata.at(key);
  if (found == expected) return;
  throw Error(origin + ": __metadata__: " + key + " must be '" + expected + "', got " +
              graph::in_quotes(found) + "; this version of qat_ext reads no other");
}

graph::Provenance provenance_from(const std::string& text, const std::string& origin) {
  const std::string place = origin + ": provenance";
  graph::Provenance provenance;
  const nlohmann::json source = graph::parse_strict_json(text, place);
  for (const auto& entry : source.items()) {
    provenance[entry.key()] =
        graph::string_from(entry.value(), place + ": " + graph::in_quotes(entry.key()));
  }
  return provenance;
}

std::vector<float> take_scales(File& file, const std::string& origin) {
  const auto found = file.tensors.find(graph::kActivationScales);
  if (found == file.tensors.end()) return {};
  const Entry& entry = found->second;
  if (entry.dtype != "F32" || entry.shape.size() != 1 || entry.shape[0] == 0) {
    throw Error(origin + ": tensor 'activation_scales': F32 [n] with n > 0 expected, got " +
                entry.dtype + " " + graph::to_text(entry.shape));
  }
  std::vector<float> scales(static_cast<size_t>(entry.shape[0]));
  std::memcpy(scales.data(), entry.bytes.data(), entry.bytes.size());
  file.tensors.erase(found);
  return scales;
}

Tensor tensor_from(const Entry& entry, const std::string& place) {
  for (const Dtype& dtype : kDtypes) {
    if (entry.dtype == dtype.name) return {dtype.type, entry.shape, to_bytes(entry.bytes)};
  }
  throw Error(place + "dtype must be I8, U8, F32, I64 or BOOL, got " + entry.dtype);
}

// Takes the entries out, so that large models are held once, not twice.
std::map<std::string, Tensor> tensors_from(
    File& file, const std::map<std::string, graph::WeightLayout>& weights,
    const std::string& origin) {
  std::map<std::string, Tensor> tensors;
  std::set<std::string> parts;
  for (const auto& [name, layout] : weights) {
    for (const std::string& suffix : weight_suffixes()) parts.insert(name + suffix);
  }
  for (auto& [name, entry] : file.tensors) {  // what is beside a weight comes after it
    const std::string place = origin + ": tensor " + graph::in_quotes(name) + ": ";
    const auto layout = weights.find(name);
    if (layout != weights.end()) {
      tensors[name] = weight_from(file, name, layout->second, place);
    } else if (parts.count(name) == 0) {
      tensors[name] = tensor_from(entry, place);
    }
    entry = {};
  }
  return tensors;
}

}  // namespace

std::string serialize(const graph::Model& model) { return serialize_as(model, "model"); }

void save(const graph::Model& model, const std::string& path) {
  safetensors::write_file(path, serialize_as(model, path));
}

graph::Model parse(const std::string& bytes, const std::string& origin) {
  File file = safetensors::parse(bytes, origin);
  require_metadata_keys(file, origin);
  require_version(file, "format", format_name(), origin);
  require_digest(bytes, "sha256", file.metadata.at("sha256"), origin, "copy or export it again");
  require_version(file, "numerics", std::to_string(kNumericsVersion), origin);
  graph::Model model;
  model.provenance = provenance_from(file.metadata.at("provenance"), origin);
  const std::vector<float> scales = take_scales(file, origin);
  graph::DecodedGraph decoded =
      graph::decode(file.metadata.at("graph"), scales, origin + ": graph");
  model.graph = std::move(decoded.graph);
  model.tensors = tensors_from(file, decoded.weights, origin);
  graph::validate(model, origin);
  return model;
}

graph::Model load(const std::string& path) { return parse(safetensors::read_file(path), path); }

}  // namespace qat::checkpoint
