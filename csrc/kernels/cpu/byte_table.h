#pragma once
// Functions of a single code as tables of bytes.

#include <array>
#include <cstdint>

#include "numerics/code_table.h"
#include "numerics/format.h"

namespace qat::kernels {

using ByteTable = std::array<uint8_t, 256>;  // indexed by the stored byte of a code

// A table of entries by code - quant_min, by the stored byte instead.
template <typename Entry>
std::array<Entry, 256> indexed_by_byte(const Entry* table, int64_t entries, bool is_signed,
                                       int64_t quant_min) {
  std::array<Entry, 256> result;
  for (size_t i = 0; i < result.size(); ++i) {
    result[i] =
        table[numerics::entry_of_byte(static_cast<uint8_t>(i), is_signed, quant_min, entries)];
  }
  return result;
}

template <typename Entry>
std::array<Entry, 256> indexed_by_byte(const Entry* table, numerics::IntFormat format) {
  return indexed_by_byte(table, int64_t{1} << format.bits, format.is_signed, format.quant_min());
}

template <typename Entry>
void map_each(const uint8_t* from, Entry* to, int64_t n, const std::array<Entry, 256>& table) {
  for (int64_t i = 0; i < n; ++i) to[i] = table[from[i]];
}

// The same, 64 bytes at a time where the processor can.
void map_bytes(const uint8_t* from, uint8_t* to, int64_t n, const ByteTable& table);

}  // namespace qat::kernels
