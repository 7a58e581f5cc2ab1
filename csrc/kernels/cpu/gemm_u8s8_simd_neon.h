#pragma once
// The registers of NEON for gemm_u8s8_direct_body.h.

#include <cstdint>
#include <cstring>

#include "kernels/cpu/intrinsics.h"

namespace qat::kernels::u8s8 {

#define QAT_SIMD QAT_TARGET static inline __attribute__((always_inline))

struct Neon {
  using Float = float32x4_t;
  using Int = int32x4_t;
  static constexpr int64_t lanes = 4;
  static constexpr int group = 4;

  QAT_SIMD Float fill(float x) { return vdupq_n_f32(x); }
  QAT_SIMD Int fill(int32_t x) { return vdupq_n_s32(x); }
  QAT_SIMD Float load_floats(const void* p) { return vld1q_f32(static_cast<const float*>(p)); }
  QAT_SIMD void store_floats(float* p, Float a) { vst1q_f32(p, a); }
  QAT_SIMD void stream_floats(float* p, Float a) { vst1q_f32(p, a); }
  QAT_SIMD Int load_ints(const void* p) { return vld1q_s32(static_cast<const int32_t*>(p)); }
  QAT_SIMD Int load_unsigned(const uint8_t* p) {
    return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(load_bytes(p)))));
  }
  QAT_SIMD Int load_signed(const uint8_t* p) {
    return vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u8(load_bytes(p)))));
  }
  QAT_SIMD Float to_float(Int a) { return vcvtq_f32_s32(a); }
  QAT_SIMD Int round(Float a) { return vcvtnq_s32_f32(a); }
  QAT_SIMD Int add(Int a, Int b) { return vaddq_s32(a, b); }
  QAT_SIMD Int sub(Int a, Int b) { return vsubq_s32(a, b); }
  QAT_SIMD Float add(Float a, Float b) { return vaddq_f32(a, b); }
  QAT_SIMD Float mul(Float a, Float b) { return vmulq_f32(a, b); }
  QAT_SIMD Float clamp(Float a, Float lowest, Float highest) {
    return vminnmq_f32(vmaxnmq_f32(a, lowest), highest);
  }
  QAT_SIMD Float unless_nan(Float tested, Float a, Float otherwise) {
    return vbslq_f32(vceqq_f32(tested, tested), a, otherwise);
  }

  // Of bytes, unsigned or signed.
  struct Bounds {
    uint8x16_t lowest, highest;
  };
  QAT_SIMD Bounds bounds(int lowest, int highest) {
    return {vdupq_n_u8(static_cast<uint8_t>(lowest)), vdupq_n_u8(static_cast<uint8_t>(highest))};
  }

  // Narrows with saturation and clamps.
  template <int vectors>
  QAT_SIMD void store(const Int* codes, bool is_signed, const Bounds& k, uint8_t* to) {
    const int16x8_t low = pack(codes[0], codes[vectors > 1 ? 1 : 0]);
    const int16x8_t high = vectors > 2 ? pack(codes[vectors > 2 ? 2 : 0], codes[vectors - 1]) : low;
    const uint8x16_t bytes = is_signed ? clamped(vqmovn_high_s16(vqmovn_s16(low), high), k)
                                       : clamped(vqmovun_high_s16(vqmovun_s16(low), high), k);
    std::memcpy(to, &bytes, vectors * 4);
  }

 private:
  QAT_SIMD uint8x8_t load_bytes(const uint8_t* p) {
    uint32_t four;
    std::memcpy(&four, p, sizeof four);
    return vcreate_u8(four);
  }
  QAT_SIMD int16x8_t pack(Int a, Int b) { return vqmovn_high_s32(vqmovn_s32(a), b); }
  QAT_SIMD uint8x16_t clamped(uint8x16_t bytes, const Bounds& k) {
    return vminq_u8(vmaxq_u8(bytes, k.lowest), k.highest);
  }
  QAT_SIMD uint8x16_t clamped(int8x16_t bytes, const Bounds& k) {
    const int8x16_t lowest = vreinterpretq_s8_u8(k.lowest);
    const int8x16_t highest = vreinterpretq_s8_u8(k.highest);
    return vreinterpretq_u8_s8(vminq_s8(vmaxq_s8(bytes, lowest), highest));
  }
};

#undef QAT_SIMD

}  // namespace qat::kernels::u8s8
