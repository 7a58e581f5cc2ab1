#pragma once
// Rules 2 and 3 on consecutive elements.

#include <cstdint>

#include "numerics/format.h"
#include "numerics/qparams.h"

namespace qat::runtime {

// Codes are stored by their low byte, which is the same for uint8 and int8.
void quantize_range(const float* x, uint8_t* codes, int64_t n, numerics::QuantParams params,
                    numerics::IntFormat format);
void dequantize_range(const uint8_t* codes, float* x, int64_t n, numerics::QuantParams params,
                      bool is_signed);

}  // namespace qat::runtime
