// Tiles of sdot, Armv8.2's product of two int8 (Note [Codes less 128]).

#include "kernels/cpu/gemm_u8s8.h"

#if defined(__aarch64__)
#define QAT_TARGET __attribute__((target("arch=armv8.2-a+dotprod")))
#include "kernels/cpu/gemm_u8s8_neon_dot_body.h"

namespace qat::kernels::u8s8 {
namespace {

struct Sdot {
  using Codes = int8x16_t;
  template <int rows, int vectors>
  using Tiles = DotTile<Sdot, rows, vectors>;

  QAT_TARGET static inline __attribute__((always_inline)) Codes codes(uint8x16_t x) {
    return vreinterpretq_s8_u8(veorq_u8(x, vdupq_n_u8(0x80)));
  }
  template <int lane>
  QAT_TARGET static inline __attribute__((always_inline)) int32x4_t add(int32x4_t acc, int8x16_t w,
                                                                        Codes x) {
    return vdotq_laneq_s32(acc, w, x, lane);
  }
};

}  // namespace

const Kernels& neon_dotprod_kernels() {
  static constexpr Kernels kKernels = make_dot_kernels<Sdot>(InstructionSet::neon_dotprod, 128);
  return kKernels;
}

}  // namespace qat::kernels::u8s8
#endif
