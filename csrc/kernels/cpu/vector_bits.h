#pragma once
// Masks of lanes as bits, lane k in bit k, and bits that are appended to bytes in memory.

#include "kernels/cpu/intrinsics.h"
#include "kernels/cpu/vector.h"

namespace qat::kernels::QAT_CPU_CAPABILITY {

#if !defined(__AVX512F__)
constexpr IntVector kBitOfLane =
#if defined(__AVX__)
    {1, 2, 4, 8, 16, 32, 64, 128};
#else
    {1, 2, 4, 8};
#endif
#endif

// Of the lanes from `first` to `last`, both included; NaN is not among them.
QAT_INLINE uint32_t bits_between(FloatVector first, FloatVector v, FloatVector last) {
#if defined(__AVX512F__)
  const __mmask16 reached = _mm512_cmp_ps_mask(v, first, _CMP_GE_OQ);
  return _mm512_mask_cmp_ps_mask(reached, v, last, _CMP_LE_OQ);
#else
  const IntVector mask = (v >= first) & (v <= last);
#if defined(__AVX__)
  return static_cast<uint32_t>(_mm256_movemask_ps(reinterpret_cast<__m256>(mask)));
#elif defined(__SSE2__)
  return static_cast<uint32_t>(_mm_movemask_ps(reinterpret_cast<__m128>(mask)));
#elif defined(__aarch64__)
  return static_cast<uint32_t>(vaddvq_s32(reinterpret_cast<int32x4_t>(mask & kBitOfLane)));
#else
  uint32_t bits = 0;
  for (int64_t k = 0; k < kLanes; ++k) bits |= static_cast<uint32_t>(mask[k] & kBitOfLane[k]);
  return bits;
#endif
#endif
}

// The lanes whose bit is set; 0 in the others. Bits above those of the lanes may be set.
QAT_INLINE FloatVector keep(uint32_t bits, FloatVector v) {
#if defined(__AVX512F__)
  return _mm512_maskz_mov_ps(static_cast<__mmask16>(bits), v);
#else
  return (kBitOfLane & static_cast<int32_t>(bits)) != 0 ? v : FloatVector{};
#endif
}

// As many elements as every register divides, and whose bits are whole bytes.
constexpr int64_t kGroup = 16;
static_assert(kGroup % kLanes == 0);

// Writes bits one behind the other: the first one is bit first % 8 of bytes[first / 8], whose lower
// bits stay. finish() clears the bits behind the last one in its byte.
class BitWriter {
 public:
  __attribute__((always_inline)) BitWriter(uint8_t* bytes, int64_t first)
      : to_(bytes + first / 8),
        count_(static_cast<int>(first % 8)),
        pending_(count_ == 0 ? 0 : *to_ & ((1u << count_) - 1)) {}

  __attribute__((always_inline)) void append_group(uint32_t bits) {
    pending_ |= bits << count_;
    const auto two = static_cast<uint16_t>(pending_);
    __builtin_memcpy(to_, &two, sizeof two);
    to_ += 2;
    pending_ >>= 16;
  }

  // The lower `n` bits; the others are zero.
  __attribute__((always_inline)) void append(uint32_t bits, int64_t n) {
    pending_ |= bits << count_;
    for (count_ += static_cast<int>(n); count_ >= 8; count_ -= 8) {
      *to_++ = static_cast<uint8_t>(pending_);
      pending_ >>= 8;
    }
  }

  __attribute__((always_inline)) void finish() {
    if (count_ > 0) *to_ = static_cast<uint8_t>(pending_);
  }

 private:
  uint8_t* to_;
  int count_;         // of pending bits that no byte holds yet, below 8
  uint32_t pending_;  // at most 7 + kGroup bits
};

}  // namespace qat::kernels::QAT_CPU_CAPABILITY
