#include "checkpoint/codebook.h"

#include <algorithm>
#include <array>

#include "checkpoint/packing.h"

namespace qat::checkpoint {
namespace {

constexpr size_t kCodes = 256;
constexpr size_t kOffset = 128;  // of code 0 in a list of all int8 codes

numerics::IntFormat index_format(size_t size) { return {index_bits(size), false, false}; }

std::vector<int8_t> distinct(const std::vector<std::byte>& codes) {
  std::array<bool, kCodes> seen{};
  for (const std::byte code : codes) {
    seen[static_cast<size_t>(static_cast<int8_t>(code)) + kOffset] = true;
  }
  std::vector<int8_t> found;
  for (size_t i = 0; i < kCodes; ++i) {
    if (seen[i]) found.push_back(static_cast<int8_t>(static_cast<int>(i) - int{kOffset}));
  }
  return found;
}

size_t bytes_of(size_t count, int bits) { return *packed_size(static_cast<int64_t>(count), bits); }

}  // namespace

int index_bits(size_t size) {
  int bits = 1;
  while ((size_t{1} << bits) < size) ++bits;
  return bits;
}

std::optional<Codebook> encode_codebook(const std::vector<std::byte>& codes,
                                        numerics::IntFormat format) {
  const std::vector<int8_t> book = distinct(codes);
  if (!codebook_obstacle(book, format).empty()) return std::nullopt;
  const size_t stored = bytes_of(codes.size(), index_bits(book.size())) + book.size() + kEntryBytes;
  if (stored >= bytes_of(codes.size(), format.bits)) return std::nullopt;
  std::array<std::byte, kCodes> index_of{};
  for (size_t i = 0; i < book.size(); ++i) {
    index_of[static_cast<size_t>(static_cast<uint8_t>(book[i]))] = static_cast<std::byte>(i);
  }
  std::vector<std::byte> indices(codes.size());
  std::transform(codes.begin(), codes.end(), indices.begin(),
                 [&](std::byte code) { return index_of[std::to_integer<size_t>(code)]; });
  return Codebook{book, pack(indices, index_format(book.size()))};
}

std::string codebook_obstacle(const std::vector<int8_t>& codes, numerics::IntFormat format) {
  const size_t most = size_t{1} << (format.bits - 1);
  if (codes.empty() || codes.size() > most) {
    return "a codebook has 1 to " + std::to_string(most) + " codes, got " +
           std::to_string(codes.size());
  }
  for (size_t i = 1; i < codes.size(); ++i) {
    if (codes[i - 1] < codes[i]) continue;
    return "the codes of a codebook ascend, got " + std::to_string(int{codes[i]}) + " after " +
           std::to_string(int{codes[i - 1]});
  }
  return {};
}

ExpandedCodes expand_codebook(const std::vector<int8_t>& book, const std::string& indices,
                              int64_t count) {
  auto codes = unpack(indices, count, index_format(book.size()));
  if (!codes) return {{}, "the unused bits of the last byte must be zero"};
  std::vector<bool> used(book.size());
  for (std::byte& code : *codes) {
    const auto index = std::to_integer<size_t>(code);
    if (index >= book.size()) {
      return {{},
              "an index must be below " + std::to_string(book.size()) +
                  ", the length of the codebook, got " + std::to_string(index)};
    }
    used[index] = true;
    code = static_cast<std::byte>(book[index]);
  }
  const auto spare = std::find(used.begin(), used.end(), false);
  if (spare != used.end()) {
    return {{}, "no index is " + std::to_string(spare - used.begin()) + "; remove the code"};
  }
  return {std::move(*codes), ""};
}

}  // namespace qat::checkpoint
