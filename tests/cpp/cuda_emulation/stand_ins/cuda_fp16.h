#pragma once

#include <cstdint>

struct __half {
  uint16_t bits;
};

// To the nearest, ties to even.
__half __float2half_rn(float value);
