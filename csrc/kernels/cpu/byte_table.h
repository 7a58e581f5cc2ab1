#pragma once
// Functions of a single code as tables of bytes.

#include <array>
#include <cstdint>

namespace qat::kernels {

using ByteTable = std::array<uint8_t, 256>;  // indexed by the stored byte of a code

void map_bytes(const uint8_t* from, uint8_t* to, int64_t n, const ByteTable& table);

}  // namespace qat::kernels
