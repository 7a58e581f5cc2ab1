#pragma once
// Codes of fewer than 8 bits, packed for the file: row-major, first code in the lowest bits.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "numerics/format.h"

namespace qat::checkpoint {

// What one more tensor takes in the header, about.
constexpr size_t kEntryBytes = 128;

// ceil(count * bits / 8); none where the product does not fit 64 bits.
std::optional<size_t> packed_size(int64_t count, int bits);

// Signed codes as two's complement of format.bits bits.
std::string pack(const std::vector<std::byte>& codes, numerics::IntFormat format);

// The inverse; `packed` must have packed_size(count, bits) bytes. None where the unused bits of the
// last byte are not zero.
std::optional<std::vector<std::byte>> unpack(const std::string& packed, int64_t count,
                                             numerics::IntFormat format);

}  // namespace qat::checkpoint
