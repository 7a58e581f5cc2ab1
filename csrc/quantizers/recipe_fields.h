#pragma once
// Reading and writing the sections of a recipe. Both visit the same list of fields, so a key has
// one spelling, one default and one rule.

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "error.h"

namespace qat {
struct Recipe;
}

namespace qat::recipe {

// A mapping of keys as it is; Recipe::from_json adds what a name and a base mean.
Recipe parse(const nlohmann::json& object);

template <typename Enum>
using Choices = std::vector<std::pair<const char*, Enum>>;

struct Bounds {
  double lowest, highest;
  bool lowest_allowed = true;
};

// Reads the keys of one JSON object; complains about what is left over.
class Reader {
 public:
  Reader(const nlohmann::json& object, std::string path);

  void integer(const char* key, int& target, int lowest, int highest);
  void integer(const char* key, std::optional<int>& target, int lowest, int highest);
  void number(const char* key, double& target, Bounds bounds);
  void number(const char* key, std::optional<double>& target, Bounds bounds);
  void boolean(const char* key, bool& target);
  void boolean(const char* key, std::optional<bool>& target);
  void text(const char* key, std::string& target);
  void word(const char* key, std::string& target, const std::vector<std::string>& words);
  void word(const char* key, std::optional<std::string>& target,
            const std::vector<std::string>& words);
  template <typename Enum>
  void choice(const char* key, Enum& target, const Choices<Enum>& choices) {
    std::vector<std::string> words;
    for (const auto& entry : choices) words.emplace_back(entry.first);
    std::string chosen;
    word(key, chosen, words);
    for (const auto& [name, value] : choices) {
      if (chosen == name) target = value;
    }
  }
  const nlohmann::json* take(const char* key);
  // Throws for keys that nobody asked for.
  void finish() const;
  [[noreturn]] void fail(const std::string& key, const std::string& message) const;

 private:
  const nlohmann::json& object_;
  std::string path_;
  std::vector<std::string> known_;
};

// Writes every field.
class Writer {
 public:
  nlohmann::json object = nlohmann::json::object();

  void integer(const char* key, int value, int, int) { object[key] = value; }
  void integer(const char* key, const std::optional<int>& value, int, int) {
    if (value) object[key] = *value;
  }
  void number(const char* key, double value, Bounds) { object[key] = value; }
  void number(const char* key, const std::optional<double>& value, Bounds) {
    if (value) object[key] = *value;
  }
  void boolean(const char* key, bool value) { object[key] = value; }
  void boolean(const char* key, const std::optional<bool>& value) {
    if (value) object[key] = *value;
  }
  void text(const char* key, const std::string& value) { object[key] = value; }
  void word(const char* key, const std::string& value, const std::vector<std::string>&) {
    object[key] = value;
  }
  void word(const char* key, const std::optional<std::string>& value,
            const std::vector<std::string>&) {
    if (value) object[key] = *value;
  }
  template <typename Enum>
  void choice(const char* key, Enum value, const Choices<Enum>& choices) {
    for (const auto& [name, option] : choices) {
      if (option == value) object[key] = name;
    }
  }
};

}  // namespace qat::recipe
