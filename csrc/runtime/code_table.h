#pragma once
// Rule 11: tables by code.

#include <array>

#include "numerics/format.h"

namespace qat::runtime {

// The table indexed by the stored byte of a code instead of code - quant_min.
template <typename Entry>
std::array<Entry, 256> indexed_by_byte(const Entry* table, numerics::IntFormat format) {
  std::array<Entry, 256> result{};
  for (int32_t code = format.quant_min(); code <= format.quant_max(); ++code) {
    result[static_cast<uint8_t>(code)] = table[code - format.quant_min()];
  }
  return result;
}

}  // namespace qat::runtime
