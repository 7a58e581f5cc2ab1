#include "graph/json_reader.h"

#include <utility>

#include "error.h"
#include "graph/spelling.h"

namespace qat::graph {

using nlohmann::json;

void fail_expected(const std::string& place, const std::string& expected, const json& got) {
  throw Error(place + ": " + expected + " expected, got " + printable(got.dump(), 80));
}

int64_t integer_from(const json& value, const std::string& place) {
  if (!value.is_number_integer()) fail_expected(place, "integer", value);
  return value.get<int64_t>();
}

std::vector<int64_t> integers_from(const json& value, const std::string& place) {
  if (!value.is_array()) fail_expected(place, "list of integers", value);
  std::vector<int64_t> numbers;
  for (const json& entry : value) {
    numbers.push_back(integer_from(entry, place + "[" + std::to_string(numbers.size()) + "]"));
  }
  return numbers;
}

std::string string_from(const json& value, const std::string& place) {
  if (!value.is_string()) fail_expected(place, "string", value);
  return value.get<std::string>();
}

ObjectReader::ObjectReader(const json& value, std::string place)
    : json_(value), place_(std::move(place)) {
  if (!json_.is_object()) fail_expected(place_, "object", json_);
}

const json& ObjectReader::at(const std::string& key) {
  const auto entry = json_.find(key);
  if (entry == json_.end()) throw Error(place_ + ": key '" + key + "' is missing");
  seen_.insert(key);
  return *entry;
}

void ObjectReader::finish() const {
  for (const auto& entry : json_.items()) {
    if (seen_.count(entry.key()) == 0) {
      throw Error(place_ + ": unknown key " + in_quotes(entry.key()));
    }
  }
}

std::string ObjectReader::string(const std::string& key) {
  return string_from(at(key), place_of(key));
}

bool ObjectReader::boolean(const std::string& key) {
  const json& value = at(key);
  if (!value.is_boolean()) fail_expected(place_of(key), "true or false", value);
  return value.get<bool>();
}

int64_t ObjectReader::integer(const std::string& key) {
  return integer_from(at(key), place_of(key));
}

std::vector<int64_t> ObjectReader::integers(const std::string& key) {
  return integers_from(at(key), place_of(key));
}

const json& ObjectReader::array(const std::string& key) {
  const json& value = at(key);
  if (!value.is_array()) fail_expected(place_of(key), "list", value);
  return value;
}

}  // namespace qat::graph
