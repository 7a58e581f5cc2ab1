// Tiles of int16 pairs for vpmaddwd: exact, |sum of a pair| <= 2 * 255 * 128 < 2^31.

#include "kernels/cpu/gemm_u8s8_epilogue_body.h"
#include "kernels/cpu/gemm_u8s8_table.h"

#if defined(__x86_64__)
#include <cstring>

#include "kernels/cpu/intrinsics.h"

#define QAT_AVX2 __attribute__((target("avx2")))

#define QAT_TARGET QAT_AVX2
#include "kernels/cpu/gemm_u8s8_direct_body.h"
#include "kernels/cpu/gemm_u8s8_simd_avx2.h"

namespace qat::kernels::u8s8 {
namespace {

constexpr int kLanes = 8;

template <int rows, int vectors>
struct Avx2Tile {
  QAT_AVX2 static void run(const Tile& t) {
    __m256i acc[rows][vectors];
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) {
        acc[r][v] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(t.start + v * kLanes));
      }
    }
    const auto* weights = reinterpret_cast<const __m256i*>(t.weights);
    for (int64_t tap = 0; tap < t.taps; ++tap) {
      const int64_t tap_end = t.tap_offsets[tap] + t.steps * 4;
      for (int64_t at = t.tap_offsets[tap]; at < tap_end; at += 4, weights += vectors) {
#pragma GCC unroll 16
        for (int r = 0; r < rows; ++r) {
          int32_t pair;
          std::memcpy(&pair, t.positions[r] + at, sizeof pair);
          const __m256i x = _mm256_set1_epi32(pair);
#pragma GCC unroll 4
          for (int v = 0; v < vectors; ++v) {
            const __m256i products = _mm256_madd_epi16(x, _mm256_load_si256(weights + v));
            acc[r][v] = _mm256_add_epi32(acc[r][v], products);
          }
        }
      }
    }
    auto* out = reinterpret_cast<__m256i*>(t.acc);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) _mm256_store_si256(out + r * vectors + v, acc[r][v]);
    }
  }
};

// A u8 in a 32-bit lane is a pair (x, 0) of int16, so vpmaddwd gives x * w.
QAT_AVX2 void depthwise(const DepthwiseTile& t) {
  for (int64_t r = 0; r < t.rows; ++r) {
    for (int64_t c = 0; c < t.width; c += kLanes) {
      __m256i acc = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(t.start + c));
      for (int64_t tap = 0; tap < t.taps; ++tap) {
        const uint8_t* x = t.positions[r] + t.tap_offsets[tap] + c;
        const int32_t* w = t.weights + tap * t.weight_stride + c;
        const __m256i codes =
            _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x)));
        const __m256i weight = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w));
        acc = _mm256_add_epi32(acc, _mm256_madd_epi16(codes, weight));
      }
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(t.acc + r * t.width + c), acc);
    }
  }
}

QAT_AVX2 void epilogue(const Epilogue& e, const EpilogueTile& t) {
  if (e.direct.possible) {
    direct_tile<Avx2>(e, t);
  } else if (e.accumulators && t.channels == t.width) {
    store_whole_accumulators<Avx2>(e, t);
  } else {
    epilogue_body(e, t);
  }
}

constexpr Kernels make() {
  Kernels kernels{InstructionSet::avx2, kLanes, 2, 2, {0, 12, 6}, {}, depthwise, epilogue, nullptr};
  fill_tiles<Avx2Tile, 1, 12>(kernels);
  fill_tiles<Avx2Tile, 2, 6>(kernels);
  return kernels;
}

}  // namespace

const Kernels& avx2_kernels() {
  static constexpr Kernels kKernels = make();
  return kKernels;
}

}  // namespace qat::kernels::u8s8
#endif
