#include <cstdio>
#include <filesystem>

#include "checkpoint/checkpoint.h"
#include "commands.h"

namespace qat::bin {
namespace {

std::string size_text(const graph::Affine& size) {
  if (size.per_batch == 0) return std::to_string(size.constant);
  std::string text = size.per_batch == 1 ? "B" : std::to_string(size.per_batch) + "B";
  if (size.constant != 0) text += (size.constant > 0 ? "+" : "") + std::to_string(size.constant);
  return text;
}

std::string type_text(const graph::Value& value) {
  switch (value.type) {
    case graph::ElementType::int64:
      return "int64";
    case graph::ElementType::boolean:
      return "bool";
    case graph::ElementType::float32:
      return "float";
    default:
      break;
  }
  const auto& format = value.format;
  char text[64];
  std::snprintf(text, sizeof text, "%s%d scale %.6g zero %d", format.is_signed ? "s" : "u",
                format.bits, static_cast<double>(value.qparams.scale), value.qparams.zero_point);
  return text;
}

std::string value_text(const graph::Value& value) {
  std::string text = "[";
  for (const auto& size : value.shape) text += (text.size() > 1 ? ", " : "") + size_text(size);
  return text + "] " + type_text(value);
}

}  // namespace

int inspect(const std::string& path) {
  const graph::Model model = checkpoint::load(path);
  int64_t bytes = 0;
  for (const auto& [name, tensor] : model.tensors)
    bytes += static_cast<int64_t>(tensor.bytes.size());
  std::printf("%s: %lld bytes, %zu nodes, %zu tensors of %lld bytes\n", path.c_str(),
              static_cast<long long>(std::filesystem::file_size(path)), model.graph.nodes.size(),
              model.tensors.size(), static_cast<long long>(bytes));
  for (const auto& node : model.graph.nodes) {
    const auto* aten = std::get_if<graph::AtenAttributes>(&node.attributes);
    const std::string name = aten ? aten->schema : graph::operator_name(node.attributes);
    for (const int64_t output : node.outputs) {
      const auto& value = model.graph.values.at(static_cast<size_t>(output));
      std::printf("%-18s %-28s %s\n", name.c_str(), node.name.c_str(), value_text(value).c_str());
    }
  }
  for (const auto& [key, value] : model.provenance) {
    const bool lines = value.find('\n') != std::string::npos;
    std::printf("%s:%s%s\n", key.c_str(), lines ? "\n" : " ", value.c_str());
  }
  return kDone;
}

}  // namespace qat::bin
