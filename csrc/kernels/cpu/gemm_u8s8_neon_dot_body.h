#pragma once
// Tiles of the instructions that add four products of bytes to a lane, without saturation. An
// instruction set brings QAT_TARGET, its function attribute, and a class Dot with its product.

#include <cstring>

#include "kernels/cpu/gemm_u8s8_neon.h"
#include "kernels/cpu/intrinsics.h"

namespace qat::kernels::u8s8 {

// A register of 16 codes serves four steps, one to each of its lanes.
template <typename Dot, int rows, int vectors>
struct DotTile {
  using Sums = int32x4_t[rows][vectors];

  QAT_TARGET static void run(const Tile& t) {
    Sums acc;
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) acc[r][v] = vld1q_s32(t.start + v * kNeonLanes);
    }
    const auto* weights = reinterpret_cast<const int8_t*>(t.weights);
    for (int64_t tap = 0; tap < t.taps; ++tap) {
      int64_t at = t.tap_offsets[tap];
      const int64_t tap_end = at + t.steps * 4;
      for (; at + 16 <= tap_end; at += 16, weights += vectors * 64) {
        typename Dot::Codes x[rows];
#pragma GCC unroll 16
        for (int r = 0; r < rows; ++r) x[r] = Dot::codes(vld1q_u8(t.positions[r] + at));
        step<0>(acc, x, weights);
        step<1>(acc, x, weights + vectors * 16);
        step<2>(acc, x, weights + vectors * 32);
        step<3>(acc, x, weights + vectors * 48);
      }
      for (; at < tap_end; at += 4, weights += vectors * 16) {
        typename Dot::Codes x[rows];
#pragma GCC unroll 16
        for (int r = 0; r < rows; ++r) {
          uint32_t quad;
          std::memcpy(&quad, t.positions[r] + at, sizeof quad);
          x[r] = Dot::codes(vreinterpretq_u8_u32(vdupq_n_u32(quad)));
        }
        step<0>(acc, x, weights);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) {
        vst1q_s32(t.acc + (r * vectors + v) * kNeonLanes, acc[r][v]);
      }
    }
  }

 private:
  template <int lane>
  QAT_TARGET static inline __attribute__((always_inline)) void step(Sums& acc,
                                                                    const typename Dot::Codes* x,
                                                                    const int8_t* weights) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      const int8x16_t w = vld1q_s8(weights + v * 16);
#pragma GCC unroll 16
      for (int r = 0; r < rows; ++r) acc[r][v] = Dot::template add<lane>(acc[r][v], w, x[r]);
    }
  }
};

// code_offset: what Dot::codes() takes from a code.
template <typename Dot>
constexpr Kernels make_dot_kernels(InstructionSet set, int32_t code_offset) {
  Kernels kernels{.set = set,
                  .lanes = kNeonLanes,
                  .channels_per_step = 4,
                  .max_vectors = 4,
                  .max_rows = {0, 12, 8, 5, 4},
                  .tile = {},
                  .depthwise = neon_depthwise,
                  .epilogue = neon_epilogue,
                  .depthwise_quads = nullptr,
                  .code_offset = code_offset};
  fill_tiles<Dot::template Tiles, 1, 12>(kernels);
  fill_tiles<Dot::template Tiles, 2, 8>(kernels);
  fill_tiles<Dot::template Tiles, 3, 5>(kernels);
  fill_tiles<Dot::template Tiles, 4, 4>(kernels);
  return kernels;
}

}  // namespace qat::kernels::u8s8
