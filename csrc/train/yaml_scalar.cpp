#include <cctype>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "train/yaml_tree.h"

namespace qat::train {
namespace {

size_t skip_digits(const std::string& text, size_t at) {
  while (at < text.size() && std::isdigit(static_cast<unsigned char>(text[at]))) ++at;
  return at;
}

size_t skip_sign(const std::string& text, size_t at) {
  return at < text.size() && (text[at] == '+' || text[at] == '-') ? at + 1 : at;
}

nlohmann::json scalar_to_json(const Node& node) {
  const std::string& text = node.scalar;
  if (node.quoted) return text;
  if (text == "true") return true;
  if (text == "false") return false;
  if (is_integer(text) && text.size() < 19) return std::strtoll(text.c_str(), nullptr, 10);
  if (is_number(text)) return std::strtod(text.c_str(), nullptr);
  return text;
}

}  // namespace

// A leading zero is refused: 010 is eight to YAML 1.1 and ten to YAML 1.2.
bool is_integer(const std::string& text) {
  const size_t first = skip_sign(text, 0);
  if (first == text.size() || skip_digits(text, first) != text.size()) return false;
  return text[first] != '0' || text.size() == first + 1;
}

bool is_number(const std::string& text) {
  const size_t first = skip_sign(text, 0);
  size_t at = skip_digits(text, first);
  size_t digits = at - first;
  if (digits > 1 && text[first] == '0') return false;
  if (at < text.size() && text[at] == '.') {
    const size_t end = skip_digits(text, at + 1);
    digits += end - at - 1;
    at = end;
  }
  if (digits == 0) return false;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    const size_t exponent = skip_sign(text, at + 1);
    at = skip_digits(text, exponent);
    if (at == exponent) return false;
  }
  return at == text.size();
}

nlohmann::json to_json(const Node& node) {
  switch (node.kind) {
    case Node::Kind::null:
      return nullptr;
    case Node::Kind::scalar:
      return scalar_to_json(node);
    case Node::Kind::list: {
      auto list = nlohmann::json::array();
      for (const Node& item : node.items) list.push_back(to_json(item));
      return list;
    }
    default: {
      auto map = nlohmann::json::object();
      for (const Entry& entry : node.entries) map[entry.key] = to_json(entry.value);
      return map;
    }
  }
}

}  // namespace qat::train
