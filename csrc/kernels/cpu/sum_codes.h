#pragma once

#include <cstdint>

namespace qat::kernels {

// Sums of each column of codes [positions, channels], uint8 or int8. sums: [channels].
void sum_codes(const uint8_t* codes, bool is_signed, int64_t positions, int64_t channels,
               int64_t* sums);

}  // namespace qat::kernels
