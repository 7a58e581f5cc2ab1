#pragma once
// JSON as the project's files have it: a subset that leaves no room for two readings.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace qat::graph {

constexpr size_t kMaxJsonDepth = 32;

// One JSON object and nothing after it but white space. Duplicate keys, nesting deeper than
// kMaxJsonDepth, integers beyond 64 bits, numbers beyond double and invalid UTF-8 are errors, at
// any level; `place` ("model.safetensors: header") opens the message.
nlohmann::json parse_strict_json(std::string_view text, const std::string& place);

}  // namespace qat::graph
