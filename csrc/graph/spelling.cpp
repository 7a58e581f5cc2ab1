#include "graph/spelling.h"

#include <array>
#include <utility>

namespace qat::graph {
namespace {

using numerics::ActivationKind;
using numerics::IntFormat;

constexpr std::array kActivationKinds = {ActivationKind::relu, ActivationKind::clamp,
                                         ActivationKind::leaky_relu, ActivationKind::hardswish,
                                         ActivationKind::hardsigmoid};
constexpr std::array kElementTypes = {ElementType::codes, ElementType::float32, ElementType::int64,
                                      ElementType::boolean};

template <typename Enum, size_t n>
std::optional<Enum> find_spelling(const std::array<Enum, n>& candidates, const std::string& text) {
  for (const Enum candidate : candidates) {
    if (text == spelling(candidate)) return candidate;
  }
  return std::nullopt;
}

template <typename List, typename ToText>
std::string list_text(const List& list, ToText to_text) {
  std::string text = "[";
  for (const auto& entry : list) text += (text.size() > 1 ? ", " : "") + to_text(entry);
  return text + "]";
}

}  // namespace

const char* spelling(ElementType type) {
  switch (type) {
    case ElementType::codes:
      return "codes";
    case ElementType::float32:
      return "float32";
    case ElementType::int64:
      return "int64";
    case ElementType::boolean:
      return "boolean";
  }
  return "unknown";
}

const char* spelling(TensorType type) {
  switch (type) {
    case TensorType::int8:
      return "int8";
    case TensorType::uint8:
      return "uint8";
    case TensorType::float32:
      return "float32";
    case TensorType::int64:
      return "int64";
    case TensorType::boolean:
      return "boolean";
  }
  return "unknown";
}

const char* spelling(Binary op) {
  switch (op) {
    case Binary::add:
      return "add";
    case Binary::sub:
      return "sub";
    case Binary::mul:
      return "mul";
  }
  return "unknown";
}

const char* spelling(ActivationKind kind) {
  switch (kind) {
    case ActivationKind::none:
      return "none";
    case ActivationKind::relu:
      return "relu";
    case ActivationKind::clamp:
      return "clamp";
    case ActivationKind::leaky_relu:
      return "leaky_relu";
    case ActivationKind::hardswish:
      return "hardswish";
    case ActivationKind::hardsigmoid:
      return "hardsigmoid";
  }
  return "unknown";
}

std::string spelling(IntFormat format) {
  const char* kind = !format.is_signed ? "u" : format.narrow ? "n" : "s";
  return kind + std::to_string(format.bits);
}

std::optional<ElementType> parse_element_type(const std::string& text) {
  return find_spelling(kElementTypes, text);
}

std::optional<ActivationKind> parse_activation_kind(const std::string& text) {
  return find_spelling(kActivationKinds, text);
}

std::optional<IntFormat> parse_format(const std::string& text) {
  for (int bits = numerics::kMinBits; bits <= numerics::kMaxBits; ++bits) {
    for (const IntFormat format : {IntFormat{bits, false, false}, IntFormat{bits, true, false},
                                   IntFormat{bits, true, true}}) {
      if (text == spelling(format)) return format;
    }
  }
  return std::nullopt;
}

std::string to_text(Affine size) {
  if (size.per_batch == 0) return std::to_string(size.constant);
  std::string text = size.per_batch == 1 ? "B" : std::to_string(size.per_batch) + "*B";
  if (size.constant > 0) text += "+";
  if (size.constant != 0) text += std::to_string(size.constant);
  return text;
}

std::string to_text(const Shape& shape) {
  return list_text(shape, [](Affine size) { return to_text(size); });
}

std::string to_text(const std::vector<int64_t>& numbers) {
  return list_text(numbers, [](int64_t number) { return std::to_string(number); });
}

std::string printable(std::string text, size_t longest) {
  if (text.size() > longest) text = text.substr(0, longest) + "...";
  for (char& character : text) {
    if (character < 0x20 || character > 0x7e) character = '?';
  }
  return text;
}

std::string in_quotes(const std::string& text) { return "'" + printable(text, 80) + "'"; }

}  // namespace qat::graph
