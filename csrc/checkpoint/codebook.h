#pragma once
// Weights with few distinct codes, stored as indices into a list of these codes.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "numerics/format.h"

namespace qat::checkpoint {

constexpr const char* kCodebookSuffix = ".codebook";

struct Codebook {
  std::vector<int8_t> codes;  // ascending
  std::string indices;        // packed, index_bits(codes.size()) each
};

// Bits of an index: the smallest number, at least 1, that tells `size` entries apart.
int index_bits(size_t size);

// None where a file with the packed codes is about as small.
std::optional<Codebook> encode_codebook(const std::vector<std::byte>& codes,
                                        numerics::IntFormat format);

// Why `codes` cannot be a codebook for weights of this format; empty when they can.
std::string codebook_obstacle(const std::vector<int8_t>& codes, numerics::IntFormat format);

// `indices` must have packed_size(count, index_bits(book.size())) bytes. On failure the message
// says why.
struct ExpandedCodes {
  std::vector<std::byte> codes;
  std::string failure;
};
ExpandedCodes expand_codebook(const std::vector<int8_t>& book, const std::string& indices,
                              int64_t count);

}  // namespace qat::checkpoint
