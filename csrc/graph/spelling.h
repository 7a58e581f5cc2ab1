#pragma once
// How the graph's enumerations are spelt in files and messages.

#include <optional>
#include <string>
#include <vector>

#include "graph/model.h"

namespace qat::graph {

const char* spelling(ElementType type);
const char* spelling(TensorType type);
const char* spelling(Binary op);
const char* spelling(numerics::ActivationKind kind);
std::string spelling(numerics::IntFormat format);  // "u8", "s4", "n8"

std::optional<ElementType> parse_element_type(const std::string& text);
std::optional<numerics::ActivationKind> parse_activation_kind(const std::string& text);
std::optional<numerics::IntFormat> parse_format(const std::string& text);

// The attributes of the operator of this name with their defaults; none for an unknown name.
std::optional<Attributes> default_attributes(const std::string& operator_name);

// For messages: "[B, 3, 224, 224]", "2*B+1", "[1, 2]".
std::string to_text(Affine size);
std::string to_text(const Shape& shape);
std::string to_text(const std::vector<int64_t>& numbers);
// A text from a file, cut, and ASCII only: messages reach terminals and Python, which refuse
// control characters and halves of UTF-8 sequences.
std::string printable(std::string text, size_t longest);
std::string in_quotes(const std::string& text);

}  // namespace qat::graph
