#pragma once
// The smallest and the largest of many floats, lane by lane.

#include "kernels/cpu/range_keys.h"
#include "kernels/cpu/vector.h"

namespace qat::kernels::QAT_CPU_CAPABILITY {

using UnsignedVector = uint32_t __attribute__((vector_size(kVectorBytes)));

// The bits of floats order like signed integers where none is negative, and backwards where all
// are: three extremes of the bits, one operation each, tell both ends. Keys would take five.
class VectorRange {
 public:
  template <typename Lanes>
  __attribute__((always_inline)) void include(FloatVector x, Lanes lanes) {
    if constexpr (std::is_same_v<Lanes, WholeVector>) {
      const auto bits = reinterpret_cast<IntVector>(x);
      const auto magnitude = reinterpret_cast<UnsignedVector>(x);
      least_ = bits < least_ ? bits : least_;
      most_ = bits > most_ ? bits : most_;
      most_unsigned_ = magnitude > most_unsigned_ ? magnitude : most_unsigned_;
    } else {
      for (int64_t k = 0; k < lanes; ++k) include_any(rest_, x[k]);
    }
  }

  // As include_any() of every element gives.
  RangeKeys keys() const {
    RangeKeys found = rest_;
    for (int64_t k = 0; k < kLanes; ++k) {
      if (most_[k] < least_[k]) continue;  // nothing came here
      const auto lowest = static_cast<int32_t>(most_unsigned_[k]);
      include_any(found, from_bits(lowest < 0 ? lowest : least_[k]));
      include_any(found, from_bits(most_[k] < 0 ? least_[k] : most_[k]));
    }
    return found;
  }

 private:
  IntVector least_ = IntVector{} + INT32_MAX, most_ = IntVector{} + INT32_MIN;
  UnsignedVector most_unsigned_{};
  RangeKeys rest_;
};

}  // namespace qat::kernels::QAT_CPU_CAPABILITY
