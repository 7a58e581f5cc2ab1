#include "graph/strict_json.h"

#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "error.h"
#include "graph/spelling.h"

namespace qat::graph {
namespace {

using nlohmann::json;

// Builds the document from the parser's events, because nlohmann's own builder keeps the last of
// two equal keys and turns an integer of more than 64 bits into a float.
class Builder : public nlohmann::json_sax<json> {
 public:
  explicit Builder(const std::string& place) : place_(place) {}

  json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<number_unsigned_t>(std::numeric_limits<int64_t>::max())) {
      fail("integers have at most 64 bits with sign, got " + std::to_string(value));
    }
    return add(value);
  }
  bool number_float(number_float_t value, const string_t& text) override {
    if (text.find_first_of(".eE") == string_t::npos) {
      fail("integers have at most 64 bits with sign, got " + text);
    }
    return add(value);
  }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override { return open(json::object()); }
  bool end_object() override { return close(); }
  bool start_array(size_t) override { return open(json::array()); }
  bool end_array() override { return close(); }
  bool key(string_t& value) override {
    if (open_.back()->contains(value))
      fail("key " + in_quotes(value) + " stands twice in one object");
    key_ = std::move(value);
    return true;
  }
  bool parse_error(size_t position, const std::string&, const json::exception& error) override {
    std::string cause = error.what();  // "[json.exception.parse_error.101] parse error at ...: ..."
    if (const size_t end = cause.find("] "); end != std::string::npos) cause.erase(0, end + 2);
    fail("not valid JSON near byte " + std::to_string(position) + ": " + printable(cause, 200));
  }

 private:
  [[noreturn]] void fail(const std::string& rule) const { throw Error(place_ + ": " + rule); }

  json* insert(json value) {
    if (open_.empty()) return &(root_ = std::move(value));
    json& parent = *open_.back();
    if (parent.is_object()) return &(parent[key_] = std::move(value));
    parent.push_back(std::move(value));
    return &parent.back();
  }
  bool add(json value) {
    insert(std::move(value));
    return true;
  }
  // The pointers stay valid: an array grows only while no element of it is open.
  bool open(json value) {
    if (open_.size() == kMaxJsonDepth) {
      fail("JSON is nested deeper than " + std::to_string(kMaxJsonDepth) + " levels");
    }
    open_.push_back(insert(std::move(value)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  const std::string& place_;
  json root_;
  std::vector<json*> open_;
  std::string key_;
};

}  // namespace

json parse_strict_json(std::string_view text, const std::string& place) {
  if (text.empty() || text.front() != '{') {
    throw Error(place + ": JSON object expected, it must begin with '{'");
  }
  // nlohmann's lexer takes a zero byte for the end and would not see what follows.
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos) {
    throw Error(place + ": not valid JSON: zero byte at " + std::to_string(zero));
  }
  Builder builder(place);
  json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

}  // namespace qat::graph
