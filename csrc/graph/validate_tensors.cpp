#include <algorithm>
#include <cstdint>
#include <set>

#include "error.h"
#include "graph/shapes.h"
#include "graph/spelling.h"
#include "graph/validate.h"

namespace qat::graph {
namespace {

bool is_name_character(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '/' || c == '#' || c == ':' || c == '-';
}

// The bytes that the shape asks for; none where a size is negative or the product too large.
std::optional<size_t> byte_count(const Tensor& tensor) {
  int64_t count = element_size(tensor.type);
  for (const int64_t size : tensor.shape) {
    if (size < 0 || __builtin_mul_overflow(count, size, &count)) return std::nullopt;
  }
  return static_cast<size_t>(count);
}

}  // namespace

bool is_tensor_name(const std::string& name) {
  return !name.empty() && name.size() <= 256 &&
         std::all_of(name.begin(), name.end(), is_name_character);
}

void validate_tensor(const std::string& name, const Tensor& tensor, const std::string& origin) {
  const std::string place = origin + ": tensor " + in_quotes(name) + ": ";
  if (!is_tensor_name(name)) {
    throw Error(place + "a name is 1 to 256 characters out of [A-Za-z0-9_./#:-]");
  }
  if (tensor.shape.size() > kMaxRank) {
    throw Error(place + "rank must be at most 8, got " + std::to_string(tensor.shape.size()));
  }
  const auto bytes = byte_count(tensor);
  if (!bytes || *bytes != tensor.bytes.size()) {
    throw Error(place + "shape " + to_text(tensor.shape) + " of " + spelling(tensor.type) +
                " does not fit " + std::to_string(tensor.bytes.size()) + " bytes");
  }
  if (tensor.type != TensorType::boolean) return;
  for (const std::byte byte : tensor.bytes) {
    if (byte > std::byte{1}) {
      throw Error(place + "booleans must be 0 or 1, got " +
                  std::to_string(std::to_integer<int>(byte)));
    }
  }
}

}  // namespace qat::graph
