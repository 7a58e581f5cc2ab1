#pragma once
// Rule 11: functions of one code as tables.

#include "numerics/arith.h"

namespace qat::numerics {

// The entry for the stored byte of a code. Bytes that are no code of the format take the entry of
// the nearest one, so that no read leaves the table.
QAT_INLINE int64_t entry_of_byte(uint8_t byte, bool is_signed, int64_t quant_min, int64_t entries) {
  const int64_t code = is_signed ? static_cast<int8_t>(byte) : byte;
  const int64_t entry = code - quant_min < 0 ? 0 : code - quant_min;
  return entry < entries ? entry : entries - 1;
}

}  // namespace qat::numerics
