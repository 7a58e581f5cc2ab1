#include "graph/json_elements.h"

#include <cmath>
#include <limits>

#include "error.h"
#include "graph/spelling.h"

namespace qat::graph {
namespace {

using nlohmann::json;

Affine per_batch_from(const json& value, const std::string& place) {
  const std::vector<int64_t> pair = integers_from(value, place);
  if (pair.size() != 2 || pair[0] == 0) {
    fail_expected(place, "[a, c] for a*B + c with a not 0", value);
  }
  return {pair[0], pair[1]};
}

double non_finite_from(const json& value, const std::string& place) {
  if (value == "inf") return std::numeric_limits<double>::infinity();
  if (value == "-inf") return -std::numeric_limits<double>::infinity();
  if (value == "nan") return std::numeric_limits<double>::quiet_NaN();
  fail_expected(place, "'inf', '-inf' or 'nan'", value);
}

AtenArgument argument_object_from(const json& value, const std::string& place) {
  if (value.size() == 1) {
    const std::string& key = value.begin().key();
    const json& content = value.begin().value();
    const std::string inner = place + ": " + key;
    if (key == "input") return {InputArgument{integer_from(content, inner)}};
    if (key == "batch") return {per_batch_from(content, inner)};
    if (key == "string") return {string_from(content, inner)};
    if (key == "float") return {non_finite_from(content, inner)};
  }
  fail_expected(place, "object with the one key 'input', 'batch', 'string' or 'float'", value);
}

AtenArgument argument_from(const json& value, const std::string& place) {
  if (value.is_null()) return {NoneArgument{}};
  if (value.is_boolean()) return {value.get<bool>()};
  if (value.is_number_integer()) return {Affine{0, value.get<int64_t>()}};
  if (value.is_number_float()) return {value.get<double>()};
  if (value.is_array()) return {arguments_from(value, place)};
  if (value.is_object()) return argument_object_from(value, place);
  fail_expected(place, "argument (a string is {\"string\": ...})", value);
}

}  // namespace

Affine size_from(const json& value, const std::string& place) {
  if (value.is_array()) return per_batch_from(value, place);
  if (!value.is_number_integer()) fail_expected(place, "integer or [a, c]", value);
  return {0, value.get<int64_t>()};
}

Shape shape_from(const json& value, const std::string& place) {
  if (!value.is_array()) fail_expected(place, "list of sizes", value);
  Shape shape;
  for (const json& entry : value) {
    shape.push_back(size_from(entry, place + "[" + std::to_string(shape.size()) + "]"));
  }
  return shape;
}

numerics::IntFormat format_from(const json& value, const std::string& place) {
  const auto format = parse_format(string_from(value, place));
  if (!format) fail_expected(place, "format u2..u8, s2..s8 or n2..n8", value);
  return *format;
}

float float32_from(const json& value, const std::string& place) {
  if (value.is_object() && value.size() == 1 && value.contains("float")) {
    return static_cast<float>(non_finite_from(value["float"], place));
  }
  if (!value.is_number()) fail_expected(place, "number", value);
  const double number = value.get<double>();
  if (std::abs(number) > std::numeric_limits<float>::max()) {
    fail_expected(place, "number within the range of float32", value);
  }
  return static_cast<float>(number);
}

int32_t int32_from(const json& value, const std::string& place) {
  const int64_t wide = integer_from(value, place);
  const int32_t number = static_cast<int32_t>(wide);
  if (number != wide) fail_expected(place, "integer of 32 bits", value);
  return number;
}

AtenList arguments_from(const json& value, const std::string& place) {
  if (!value.is_array()) fail_expected(place, "list of arguments", value);
  AtenList list;
  for (const json& entry : value) {
    list.push_back(argument_from(entry, place + "[" + std::to_string(list.size()) + "]"));
  }
  return list;
}

}  // namespace qat::graph
