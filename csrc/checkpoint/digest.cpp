#include "checkpoint/digest.h"

#include <string_view>

#include "checkpoint/sha256.h"
#include "error.h"
#include "graph/spelling.h"

namespace qat::checkpoint {
namespace {

constexpr size_t kDigits = 64;

}  // namespace

std::string blank_digest() { return std::string(kDigits, '0'); }

void insert_digest(std::string& bytes) {
  const std::string key = "sha256\":\"";
  const size_t digits = bytes.find(key + blank_digest()) + key.size();
  bytes.replace(digits, kDigits, sha256(bytes));
}

void require_digest(const std::string& bytes, const std::string& key, const std::string& found,
                    const std::string& origin, const std::string& remedy) {
  const std::string place = origin + ": __metadata__: " + key + ": ";
  if (found.size() != kDigits || found.find_first_not_of("0123456789abcdef") != std::string::npos) {
    throw Error(place + "64 lower-case hexadecimal digits expected, got " +
                graph::in_quotes(found));
  }
  // Quotes inside JSON strings are escaped, so that no text in the header can be taken for this.
  const size_t begin = bytes.find("\"" + found + "\"");
  if (begin == std::string::npos) {
    throw Error(place + "the digits must stand in the header without escapes");
  }
  Sha256 hash;
  hash.update(std::string_view(bytes).substr(0, begin + 1));
  hash.update(blank_digest());
  hash.update(std::string_view(bytes).substr(begin + 1 + kDigits));
  const std::string computed = hash.finish();
  if (computed != found) {
    throw Error(place + "the file is damaged: it says " + found + ", its bytes give " + computed +
                "; " + remedy);
  }
}

}  // namespace qat::checkpoint
