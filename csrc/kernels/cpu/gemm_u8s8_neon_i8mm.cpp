// Tiles of sudot, which the int8 matrix extension of Armv8.6 brings: s8 times u8.

#include "kernels/cpu/gemm_u8s8.h"

#if defined(__aarch64__)
#define QAT_TARGET __attribute__((target("arch=armv8.2-a+i8mm")))
#include "kernels/cpu/gemm_u8s8_neon_dot_body.h"

namespace qat::kernels::u8s8 {
namespace {

struct Sudot {
  using Codes = uint8x16_t;
  template <int rows, int vectors>
  using Tiles = DotTile<Sudot, rows, vectors>;

  QAT_TARGET static inline __attribute__((always_inline)) Codes codes(uint8x16_t x) { return x; }
  template <int lane>
  QAT_TARGET static inline __attribute__((always_inline)) int32x4_t add(int32x4_t acc, int8x16_t w,
                                                                        Codes x) {
    return vsudotq_laneq_s32(acc, w, x, lane);
  }
};

}  // namespace

const Kernels& neon_i8mm_kernels() {
  static constexpr Kernels kKernels = make_dot_kernels<Sudot>(InstructionSet::neon_i8mm, 0);
  return kKernels;
}

}  // namespace qat::kernels::u8s8
#endif
