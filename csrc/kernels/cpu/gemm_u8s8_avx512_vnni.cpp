// Tiles of u8 quads for vpdpbusd, which adds four products to a lane without saturation.

#include "kernels/cpu/depthwise_quads.h"
#include "kernels/cpu/gemm_u8s8_epilogue_body.h"
#include "kernels/cpu/gemm_u8s8_table.h"

#if defined(__x86_64__)
#include <cstring>

#include "kernels/cpu/intrinsics.h"

#define QAT_VNNI \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,prefer-vector-width=512")))

#define QAT_TARGET QAT_VNNI
#include "kernels/cpu/gemm_u8s8_direct_body.h"
#include "kernels/cpu/gemm_u8s8_simd_avx512.h"

namespace qat::kernels::u8s8 {
namespace {

constexpr int kLanes = 16;

template <int rows, int vectors>
struct VnniTile {
  QAT_VNNI static void run(const Tile& t) {
    __m512i acc[rows][vectors];
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) acc[r][v] = _mm512_loadu_si512(t.start + v * kLanes);
    }
    const auto* weights = reinterpret_cast<const __m512i*>(t.weights);
    for (int64_t tap = 0; tap < t.taps; ++tap) {
      const int64_t tap_end = t.tap_offsets[tap] + t.steps * 4;
      for (int64_t at = t.tap_offsets[tap]; at < tap_end; at += 4, weights += vectors) {
        __m512i w[vectors];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) w[v] = _mm512_load_si512(weights + v);
#pragma GCC unroll 16
        for (int r = 0; r < rows; ++r) {
          int32_t quad;
          std::memcpy(&quad, t.positions[r] + at, sizeof quad);
          const __m512i x = _mm512_set1_epi32(quad);
#pragma GCC unroll 4
          for (int v = 0; v < vectors; ++v) acc[r][v] = _mm512_dpbusd_epi32(acc[r][v], x, w[v]);
        }
      }
    }
    auto* out = reinterpret_cast<__m512i*>(t.acc);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) _mm512_store_si512(out + r * vectors + v, acc[r][v]);
    }
  }
};

// A u8 in a 32-bit lane is a pair (x, 0) of int16, so vpdpwssd adds x * w.
QAT_VNNI void depthwise(const DepthwiseTile& t) {
  for (int64_t r = 0; r < t.rows; ++r) {
    for (int64_t c = 0; c < t.width; c += kLanes) {
      __m512i acc = _mm512_loadu_si512(t.start + c);
      for (int64_t tap = 0; tap < t.taps; ++tap) {
        const uint8_t* x = t.positions[r] + t.tap_offsets[tap] + c;
        const int32_t* w = t.weights + tap * t.weight_stride + c;
        const __m512i codes = _mm512_maskz_cvtepu8_epi32(
            0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
        acc = _mm512_dpwssd_epi32(acc, codes, _mm512_loadu_si512(w));
      }
      _mm512_storeu_si512(t.acc + r * t.width + c, acc);
    }
  }
}

QAT_VNNI void epilogue(const Epilogue& e, const EpilogueTile& t) {
  if (e.direct.possible) {
    direct_tile<Avx512>(e, t);
  } else if (e.accumulators && t.channels == t.width) {
    store_whole_accumulators<Avx512>(e, t);
  } else {
    epilogue_body(e, t);
  }
}

constexpr Kernels make() {
  Kernels kernels{InstructionSet::avx512_vnni, kLanes, 4,         4,
                  {0, 12, 12, 8, 6},           {},     depthwise, epilogue,
                  depthwise_quads_avx512_vnni};
  fill_tiles<VnniTile, 1, 12>(kernels);
  fill_tiles<VnniTile, 2, 12>(kernels);
  fill_tiles<VnniTile, 3, 8>(kernels);
  fill_tiles<VnniTile, 4, 6>(kernels);
  return kernels;
}

}  // namespace

const Kernels& avx512_vnni_kernels() {
  static constexpr Kernels kKernels = make();
  return kKernels;
}

}  // namespace qat::kernels::u8s8
#endif
