#include <cmath>
#include <sstream>

#include "nearest.h"
#include "quantizers/recipe_fields.h"

namespace qat::recipe {
namespace {

using nlohmann::json;

std::string joined(const std::vector<std::string>& words) {
  std::string all;
  for (const auto& word : words) all += (all.empty() ? "" : ", ") + word;
  return all;
}

std::string spelled(const Bounds& bounds) {
  std::ostringstream out;
  out << (bounds.lowest_allowed ? '[' : '(') << bounds.lowest << ", " << bounds.highest << ']';
  return out.str();
}

}  // namespace

Reader::Reader(const json& object, std::string path) : object_(object), path_(std::move(path)) {
  if (!object.is_object()) fail("", "expected a mapping, got " + object.dump());
}

const json* Reader::take(const char* key) {
  known_.emplace_back(key);
  const auto found = object_.find(key);
  return found == object_.end() ? nullptr : &*found;
}

void Reader::fail(const std::string& key, const std::string& message) const {
  throw Error(path_ + (key.empty() ? "" : "." + key) + ": " + message);
}

void Reader::integer(const char* key, int& target, int lowest, int highest) {
  const json* value = take(key);
  if (value == nullptr) return;
  const bool fits = value->is_number_integer() && *value >= lowest && *value <= highest;
  if (!fits) {
    fail(key, "expected an integer from " + std::to_string(lowest) + " to " +
                  std::to_string(highest) + ", got " + value->dump());
  }
  target = value->get<int>();
}

void Reader::integer(const char* key, std::optional<int>& target, int lowest, int highest) {
  int value = 0;
  integer(key, value, lowest, highest);
  if (object_.contains(key)) target = value;
}

void Reader::number(const char* key, double& target, Bounds bounds) {
  const json* value = take(key);
  if (value == nullptr) return;
  const double got = value->is_number() ? value->get<double>() : std::nan("");
  const bool above = bounds.lowest_allowed ? got >= bounds.lowest : got > bounds.lowest;
  if (!(above && got <= bounds.highest)) {
    fail(key, "expected a number in " + spelled(bounds) + ", got " + value->dump());
  }
  target = got;
}

void Reader::number(const char* key, std::optional<double>& target, Bounds bounds) {
  double value = 0;
  number(key, value, bounds);
  if (object_.contains(key)) target = value;
}

void Reader::boolean(const char* key, bool& target) {
  const json* value = take(key);
  if (value == nullptr) return;
  if (!value->is_boolean()) fail(key, "expected true or false, got " + value->dump());
  target = value->get<bool>();
}

void Reader::boolean(const char* key, std::optional<bool>& target) {
  bool value = false;
  boolean(key, value);
  if (object_.contains(key)) target = value;
}

void Reader::text(const char* key, std::string& target) {
  const json* value = take(key);
  if (value == nullptr) return;
  if (!value->is_string()) fail(key, "expected a text, got " + value->dump());
  target = value->get<std::string>();
}

void Reader::word(const char* key, std::string& target, const std::vector<std::string>& words) {
  const json* value = take(key);
  if (value == nullptr) return;
  const std::string got = value->is_string() ? value->get<std::string>() : "";
  if (std::find(words.begin(), words.end(), got) == words.end()) {
    fail(key, "expected one of " + joined(words) + ", got " + value->dump());
  }
  target = got;
}

void Reader::word(const char* key, std::optional<std::string>& target,
                  const std::vector<std::string>& words) {
  std::string value;
  word(key, value, words);
  if (object_.contains(key)) target = value;
}

void Reader::finish() const {
  for (const auto& [key, value] : object_.items()) {
    if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
    const auto near = nearest(key, known_);
    fail("", "unknown key '" + key + "'; " +
                 (near ? "did you mean '" + *near + "'?" : "known keys: " + joined(known_)));
  }
}

}  // namespace qat::recipe
