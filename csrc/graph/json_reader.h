#pragma once
// Typed access to a JSON object whose keys are all known: each key is read once, and what is left
// over or missing is an error that names its place.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace qat::graph {

class ObjectReader {
 public:
  // `json` must outlive the reader; `place` opens every message.
  ObjectReader(const nlohmann::json& json, std::string place);

  // The value of a key that must be there.
  const nlohmann::json& at(const std::string& key);
  // To be called after the last at(): any other key is an error.
  void finish() const;

  std::string string(const std::string& key);
  bool boolean(const std::string& key);
  int64_t integer(const std::string& key);
  std::vector<int64_t> integers(const std::string& key);
  const nlohmann::json& array(const std::string& key);

  std::string place_of(const std::string& key) const { return place_ + ": " + key; }

 private:
  const nlohmann::json& json_;
  std::string place_;
  std::set<std::string> seen_;
};

// "<place>: <expected> expected, got <the JSON value, cut>"
[[noreturn]] void fail_expected(const std::string& place, const std::string& expected,
                                const nlohmann::json& got);

int64_t integer_from(const nlohmann::json& json, const std::string& place);
std::vector<int64_t> integers_from(const nlohmann::json& json, const std::string& place);
std::string string_from(const nlohmann::json& json, const std::string& place);

}  // namespace qat::graph
