// Tiles for Armv8.0: smull gives products of int8 as int16, |product| <= 128 * 128 < 2^15, and
// sadalp adds pairs of them to int32. A second product on top (smlal) could leave int16.

#include "kernels/cpu/gemm_u8s8_neon.h"

#include "kernels/cpu/gemm_u8s8_epilogue_body.h"

#if defined(__aarch64__)
#define QAT_TARGET
#include "kernels/cpu/gemm_u8s8_direct_body.h"
#include "kernels/cpu/gemm_u8s8_simd_neon.h"

namespace qat::kernels::u8s8 {
namespace {

// Each channel has two partial sums: those of the first and of the second pair of a step.
template <int rows, int vectors>
struct NeonTile {
  static void run(const Tile& t) {
    int32x4_t low[rows][vectors], high[rows][vectors];  // channels 0 and 1, 2 and 3 of a vector
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) low[r][v] = high[r][v] = vdupq_n_s32(0);
    }
    const auto* weights = reinterpret_cast<const int8_t*>(t.weights);
    for (int64_t tap = 0; tap < t.taps; ++tap) {
      const int64_t tap_end = t.tap_offsets[tap] + t.steps * 4;
      for (int64_t at = t.tap_offsets[tap]; at < tap_end; at += 4, weights += vectors * 16) {
        int8x16_t w[vectors];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) w[v] = vld1q_s8(weights + v * 16);
#pragma GCC unroll 16
        for (int r = 0; r < rows; ++r) {
          uint32_t quad;
          std::memcpy(&quad, t.positions[r] + at, sizeof quad);
          const int8x16_t x = vreinterpretq_s8_u32(vdupq_n_u32(quad ^ 0x80808080u));
#pragma GCC unroll 4
          for (int v = 0; v < vectors; ++v) {
            const int16x8_t first = vmull_s8(vget_low_s8(x), vget_low_s8(w[v]));
            low[r][v] = vpadalq_s16(low[r][v], first);
            high[r][v] = vpadalq_s16(high[r][v], vmull_high_s8(x, w[v]));
          }
        }
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) {
        const int32x4_t sum = vpaddq_s32(low[r][v], high[r][v]);
        const int32x4_t start = vld1q_s32(t.start + v * kNeonLanes);
        vst1q_s32(t.acc + (r * vectors + v) * kNeonLanes, vaddq_s32(sum, start));
      }
    }
  }
};

constexpr Kernels make() {
  Kernels kernels{.set = InstructionSet::neon,
                  .lanes = kNeonLanes,
                  .channels_per_step = 4,
                  .max_vectors = 4,
                  .max_rows = {0, 7, 4, 2, 2},
                  .tile = {},
                  .depthwise = neon_depthwise,
                  .epilogue = neon_epilogue,
                  .depthwise_quads = nullptr,
                  .code_offset = 128};
  fill_tiles<NeonTile, 1, 7>(kernels);
  fill_tiles<NeonTile, 2, 4>(kernels);
  fill_tiles<NeonTile, 3, 2>(kernels);
  fill_tiles<NeonTile, 4, 2>(kernels);
  return kernels;
}

}  // namespace

// Weights are int8 in 32 bits: their low halves are int16.
void neon_depthwise(const DepthwiseTile& t) {
  static_assert(kDepthwiseLanes == 16);
  for (int64_t r = 0; r < t.rows; ++r) {
    for (int64_t c = 0; c < t.width; c += 16) {
      int32x4_t acc[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) acc[i] = vld1q_s32(t.start + c + i * 4);
      for (int64_t tap = 0; tap < t.taps; ++tap) {
        const uint8x16_t codes = vld1q_u8(t.positions[r] + t.tap_offsets[tap] + c);
        const auto* w = reinterpret_cast<const int16_t*>(t.weights + tap * t.weight_stride + c);
        const int16x8_t x[] = {vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(codes))),
                               vreinterpretq_s16_u16(vmovl_high_u8(codes))};
#pragma GCC unroll 2
        for (int i = 0; i < 2; ++i) {
          const int16x8_t weight = vuzp1q_s16(vld1q_s16(w + i * 16), vld1q_s16(w + i * 16 + 8));
          acc[2 * i] = vmlal_s16(acc[2 * i], vget_low_s16(x[i]), vget_low_s16(weight));
          acc[2 * i + 1] = vmlal_high_s16(acc[2 * i + 1], x[i], weight);
        }
      }
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) vst1q_s32(t.acc + r * t.width + c + i * 4, acc[i]);
    }
  }
}

void neon_epilogue(const Epilogue& e, const EpilogueTile& t) {
  if (e.direct.possible) {
    direct_tile<Neon>(e, t);
  } else if (e.accumulators && t.channels == t.width) {
    store_whole_accumulators<Neon>(e, t);
  } else {
    epilogue_body(e, t);
  }
}

const Kernels& neon_kernels() {
  static constexpr Kernels kKernels = make();
  return kKernels;
}

}  // namespace qat::kernels::u8s8
#endif
