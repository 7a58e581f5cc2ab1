#pragma once
// Integer formats: which codes exist (docs/numerics.md, rule 1).

#include <cstdint>

namespace qat::numerics {

constexpr int kMinBits = 2;
constexpr int kMaxBits = 8;

// bits: 2..8. narrow (signed only) drops the most negative code, so that the range is symmetric.
struct IntFormat {
  int bits = 8;
  bool is_signed = false;
  bool narrow = false;

  constexpr int32_t quant_min() const {
    if (!is_signed) return 0;
    return -(1 << (bits - 1)) + (narrow ? 1 : 0);
  }
  constexpr int32_t quant_max() const {
    return is_signed ? (1 << (bits - 1)) - 1 : (1 << bits) - 1;
  }
  constexpr bool operator==(const IntFormat&) const = default;
};

constexpr IntFormat kUint8{8, false, false};
constexpr IntFormat kInt8{8, true, false};
constexpr IntFormat kInt8Narrow{8, true, true};

}  // namespace qat::numerics
