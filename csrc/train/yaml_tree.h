#pragma once
// A YAML document as a tree that remembers where every part stands.

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "error.h"

namespace qat::train {

// A mistake of the user in a job file or on the command line: exit code 2.
class JobError : public Error {
 public:
  using Error::Error;
};

// Line and column count from 1. Line 0: a source without lines, such as "command line: seed=x".
struct Place {
  std::shared_ptr<const std::string> source;
  int line = 0, column = 0;

  std::string text() const;
  // Throws JobError "<place>: error: <message>".
  [[noreturn]] void fail(const std::string& message) const;
};

struct Entry;

struct Node {
  enum class Kind { null, scalar, list, map };
  Kind kind = Kind::null;
  std::string scalar;
  bool quoted = false;  // a quoted or block scalar: always a string
  std::vector<Node> items;
  std::vector<Entry> entries;
  Place place;

  const Entry* find(const std::string& key) const;
  Entry* find(const std::string& key);
  // "'abc'", "a list", "a map" or "nothing", as messages name what was found.
  std::string found() const;
};

struct Entry {
  std::string key;
  Place place;
  Node value;
};

// One document. Duplicate keys, anchors, aliases, merge keys, tags, keys that are no scalars,
// nesting over 16 levels and further documents are errors.
Node parse_yaml(const std::string& text, const std::string& source);
Node parse_yaml_file(const std::string& path);

// Applies "key.sub=value" to the tree; value is YAML, read by the same rules.
void apply_override(Node& root, const std::string& assignment);

// What a plain scalar means is decided here and nowhere else. Numbers are decimal: 3, -0.5, 1e-3.
bool is_integer(const std::string& text);
bool is_number(const std::string& text);

nlohmann::json to_json(const Node& node);

}  // namespace qat::train
