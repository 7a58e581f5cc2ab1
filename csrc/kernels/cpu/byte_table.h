#pragma once
// Functions of a single code as tables of bytes.

#include <array>
#include <cstdint>

namespace qat::kernels {

using ByteTable = std::array<uint8_t, 256>;  // indexed by the stored byte of a code

template <typename Entry>
void map_each(const uint8_t* from, Entry* to, int64_t n, const std::array<Entry, 256>& table) {
  for (int64_t i = 0; i < n; ++i) to[i] = table[from[i]];
}

// The same, 64 bytes at a time where the processor can.
void map_bytes(const uint8_t* from, uint8_t* to, int64_t n, const ByteTable& table);

}  // namespace qat::kernels
