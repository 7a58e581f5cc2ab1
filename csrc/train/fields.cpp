#include "train/fields.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace qat::train {
namespace {

std::string show(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.10g", value);
  return text;
}

std::optional<double> read_number(const Node& node, const Interval& interval) {
  if (node.kind != Node::Kind::scalar || node.quoted || !is_number(node.scalar)) return {};
  const double value = std::strtod(node.scalar.c_str(), nullptr);
  if (!interval.contains(value)) return {};
  return value;
}

std::optional<int64_t> read_integer(const Node& node, int64_t low, int64_t high) {
  // 18 digits cannot overflow int64.
  if (node.kind != Node::Kind::scalar || node.quoted || !is_integer(node.scalar) ||
      node.scalar.size() > 18) {
    return {};
  }
  const int64_t value = std::strtoll(node.scalar.c_str(), nullptr, 10);
  if (value < low || value > high) return {};
  return value;
}

std::string integer_rule(int64_t low, int64_t high) {
  return "an integer from " + std::to_string(low) + " to " + std::to_string(high);
}

}  // namespace

std::string join(const Words& words, const std::string& separator) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : separator) + word;
  return text;
}

std::string Interval::text() const {
  return "from " + show(low) + (low_open ? " (not included)" : "") + " to " + show(high) +
         (high_open ? " (not included)" : "");
}

Fields::Fields(const Node& map, std::string path, Words known) : map_(map), path_(std::move(path)) {
  if (map.kind != Node::Kind::map) {
    map.place.fail((path_.empty() ? "a job" : path_) + ": expected a map with the keys " +
                   join(known) + ", found " + map.found());
  }
  for (const Entry& entry : map.entries) {
    if (std::find(known.begin(), known.end(), entry.key) != known.end()) continue;
    const auto near = nearest(entry.key, known);
    entry.place.fail((path_.empty() ? "" : path_ + ": ") + "unknown key '" + entry.key + "'; " +
                     (near ? "did you mean '" + *near + "'?" : "the keys here are " + join(known)));
  }
}

std::string Fields::path(const std::string& key) const {
  return path_.empty() ? key : path_ + "." + key;
}

const Node* Fields::find(const std::string& key) const {
  const Entry* entry = map_.find(key);
  return entry ? &entry->value : nullptr;
}

const Node& Fields::require(const std::string& key, const std::string& expected) const {
  if (const Node* node = find(key)) return *node;
  map_.place.fail((path_.empty() ? "" : path_ + ": ") + "key '" + key + "' is missing; expected " +
                  expected);
}

void Fields::fail(const std::string& key, const std::string& message) const {
  const Node* node = find(key);
  (node ? node->place : map_.place).fail(path(key) + ": " + message);
}

int64_t Fields::integer(const std::string& key, int64_t fallback, int64_t low, int64_t high) const {
  const Node* node = find(key);
  if (!node) return fallback;
  const auto value = read_integer(*node, low, high);
  if (!value) fail(key, "expected " + integer_rule(low, high) + ", found " + node->found());
  return *value;
}

double Fields::number(const std::string& key, double fallback, const Interval& interval) const {
  const Node* node = find(key);
  if (!node) return fallback;
  const auto value = read_number(*node, interval);
  if (!value) fail(key, "expected a number " + interval.text() + ", found " + node->found());
  return *value;
}

bool Fields::boolean(const std::string& key, bool fallback) const {
  const Node* node = find(key);
  if (!node) return fallback;
  if (node->kind == Node::Kind::scalar && !node->quoted) {
    if (node->scalar == "true") return true;
    if (node->scalar == "false") return false;
  }
  fail(key, "expected true or false, found " + node->found());
}

std::string Fields::word(const std::string& key, const std::string& fallback) const {
  const Node* node = find(key);
  if (!node) return fallback;
  const bool other = node->kind == Node::Kind::scalar && !node->quoted &&
                     (is_number(node->scalar) || node->scalar == "true" || node->scalar == "false");
  if (other) fail(key, "expected a string, found " + node->found() + "; quote it if it is meant");
  if (node->kind != Node::Kind::scalar || node->scalar.empty()) {
    fail(key, "expected a string, found " + node->found());
  }
  return node->scalar;
}

std::string Fields::choice(const std::string& key, const std::string& fallback,
                           const Words& choices) const {
  const Node* node = find(key);
  if (!node) return fallback;
  const bool scalar = node->kind == Node::Kind::scalar;
  if (scalar && std::find(choices.begin(), choices.end(), node->scalar) != choices.end()) {
    return node->scalar;
  }
  const auto near = scalar ? nearest(node->scalar, choices) : std::nullopt;
  fail(key, "expected one of " + join(choices) + ", found " + node->found() +
                (near ? "; did you mean '" + *near + "'?" : ""));
}

std::vector<double> Fields::numbers(const std::string& key, const Interval& interval) const {
  std::vector<double> values;
  const Node* node = find(key);
  if (!node) return values;
  if (node->kind != Node::Kind::list || node->items.empty()) {
    fail(key, "expected a list of numbers, found " + node->found());
  }
  for (const Node& item : node->items) {
    const auto value = read_number(item, interval);
    if (!value) {
      item.place.fail(path(key) + ": expected a number " + interval.text() + ", found " +
                      item.found());
    }
    values.push_back(*value);
  }
  return values;
}

std::vector<int64_t> Fields::integers(const std::string& key, const std::vector<int64_t>& fallback,
                                      int64_t low, int64_t high) const {
  const Node* node = find(key);
  if (!node) return fallback;
  if (node->kind != Node::Kind::list) {
    fail(key, "expected a list of integers, found " + node->found());
  }
  std::vector<int64_t> values;
  for (const Node& item : node->items) {
    const auto value = read_integer(item, low, high);
    if (!value) {
      item.place.fail(path(key) + ": expected " + integer_rule(low, high) + ", found " +
                      item.found());
    }
    values.push_back(*value);
  }
  return values;
}

}  // namespace qat::train
