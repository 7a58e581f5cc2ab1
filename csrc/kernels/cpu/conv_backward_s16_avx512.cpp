// Tiles of int16 pairs in 512 bits: vpdpwssd, or vpmaddwd and vpaddd where it is missing.

#include "kernels/cpu/conv_backward_s16_prepare_body.h"
#include "kernels/cpu/conv_backward_s16_table.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define QAT_AVX512 \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")))

namespace qat::kernels::s16 {
namespace {

constexpr int kLanes = 16;  // int32

// GCC 12 copies accumulators around _mm512_dpwssd_epi32 (2.5 times slower); a written instruction
// keeps them in place.
template <bool vnni>
QAT_AVX512 inline __attribute__((always_inline)) void multiply_add(__m512i& acc, __m512i x,
                                                                   __m512i y) {
  if constexpr (vnni) {
    asm("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(y));
  } else {
    acc = _mm512_add_epi32(acc, _mm512_madd_epi16(x, y));
  }
}

QAT_AVX512 inline __attribute__((always_inline)) void add_to(float* to, __m512 sum, bool first) {
  _mm512_storeu_ps(to, first ? sum : _mm512_add_ps(_mm512_loadu_ps(to), sum));
}

template <int rows, int vectors>
QAT_AVX512 inline __attribute__((always_inline)) void flush(const __m512i (&acc)[rows][vectors],
                                                            const DataTile& t) {
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      add_to(t.acc + r * t.pair_stride + v * kLanes, _mm512_maskz_cvtepi32_ps(0xffff, acc[r][v]),
             t.first);
    }
  }
}

template <int rows, int vectors>
QAT_AVX512 inline __attribute__((always_inline)) void flush(const __m512i (&acc)[rows][vectors],
                                                            const WeightTile& t) {
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      const __m512 scale =
          t.rows_are_grad ? _mm512_set1_ps(t.scale[r]) : _mm512_loadu_ps(t.scale + v * kLanes);
      add_to(t.acc + r * t.column_width + v * kLanes,
             _mm512_mul_ps(_mm512_maskz_cvtepi32_ps(0xffff, acc[r][v]), scale), t.first);
    }
  }
}

template <int rows, int vectors>
QAT_AVX512 inline __attribute__((always_inline)) void store(const __m512i (&acc)[rows][vectors],
                                                            const DataTile& t) {
  const __m512 scale = _mm512_set1_ps(t.scale);
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) {
    float* to = t.result + t.offsets[r];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      const __m512 sum = _mm512_maskz_cvtepi32_ps(0xffff, acc[r][v]);
      _mm512_storeu_ps(to + v * kLanes, _mm512_mul_ps(sum, scale));
    }
  }
}

template <bool vnni, int rows, int vectors>
struct Avx512Tiles {
  QAT_AVX512 static void data(const DataTile& t) {
    __m512i acc[rows][vectors];
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) acc[r][v] = _mm512_setzero_si512();
    }
    for (int64_t tap = 0; tap < t.taps; ++tap) {
      const uint32_t* weights = t.weights + tap * t.tap_stride;
      const int64_t end = t.tap_offsets[tap] + t.pairs;
      for (int64_t at = t.tap_offsets[tap]; at < end; ++at, weights += t.pair_stride) {
        __m512i w[vectors];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) w[v] = _mm512_loadu_si512(weights + v * kLanes);
#pragma GCC unroll 16
        for (int r = 0; r < rows; ++r) {
          const __m512i x = _mm512_set1_epi32(static_cast<int>(t.positions[r][at]));
#pragma GCC unroll 4
          for (int v = 0; v < vectors; ++v) multiply_add<vnni>(acc[r][v], x, w[v]);
        }
      }
    }
    if (t.result != nullptr) {
      store<rows, vectors>(acc, t);
    } else {
      flush<rows, vectors>(acc, t);
    }
  }

  QAT_AVX512 static void weight(const WeightTile& t) {
    __m512i acc[rows][vectors];
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) acc[r][v] = _mm512_setzero_si512();
    }
    for (int64_t i = 0; i < t.run_count; ++i) {
      const Run& run = t.runs[i];
      const uint32_t* a = t.rows + (t.rows_are_grad ? run.grad : run.input) * t.row_width;
      const uint32_t* b = t.columns + (t.rows_are_grad ? run.input : run.grad) * t.column_width;
      for (int64_t p = 0; p < run.count; ++p, a += t.row_step, b += t.column_step) {
        __m512i w[vectors];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) w[v] = _mm512_loadu_si512(b + v * kLanes);
#pragma GCC unroll 16
        for (int r = 0; r < rows; ++r) {
          const __m512i x = _mm512_set1_epi32(static_cast<int>(a[r]));
#pragma GCC unroll 4
          for (int v = 0; v < vectors; ++v) multiply_add<vnni>(acc[r][v], x, w[v]);
        }
      }
    }
    flush<rows, vectors>(acc, t);
  }
};

QAT_AVX512 void absmax(const float* x, int64_t n, int64_t width, int32_t* maximum) {
  absmax_body(x, n, width, maximum);
}

QAT_AVX512 void round_grad(const float* x, int64_t n, const float* factor, int64_t width,
                           float inverse, int16_t* out) {
  round_grad_body(x, n, factor, width, inverse, out);
}

QAT_AVX512 inline __attribute__((always_inline)) __mmask16 mask_of(int64_t left) {
  return left >= kLanes ? __mmask16{0xffff} : static_cast<__mmask16>((1u << left) - 1);
}

QAT_AVX512 inline __attribute__((always_inline)) __m512i pair(__m512i low, __m512i high) {
  return _mm512_mask_blend_epi16(0xaaaaaaaa, low, _mm512_maskz_slli_epi32(0xffff, high, 16));
}

template <int groups>
QAT_AVX512 inline __attribute__((always_inline)) void absmax_groups(const PairSource& s,
                                                                    const float* low,
                                                                    const float* high,
                                                                    int32_t* maximum) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  const __mmask16 last = mask_of(s.count - (groups - 1) * kLanes);
  __m512i largest[groups];
#pragma GCC unroll 4
  for (int g = 0; g < groups; ++g) largest[g] = _mm512_setzero_si512();
  for (int64_t p = 0; p < s.positions; ++p, low += s.stride, high += s.stride) {
#pragma GCC unroll 4
    for (int g = 0; g < groups; ++g) {
      const __mmask16 mask = g + 1 < groups ? __mmask16{0xffff} : last;
      const __m512i a = _mm512_maskz_loadu_epi32(mask, low + g * kLanes);
      const __m512i b = _mm512_maskz_loadu_epi32(mask, high + g * kLanes);
      largest[g] = _mm512_maskz_max_epi32(0xffff, largest[g], _mm512_and_si512(a, magnitude));
      largest[g] = _mm512_maskz_max_epi32(0xffff, largest[g], _mm512_and_si512(b, magnitude));
    }
  }
#pragma GCC unroll 4
  for (int g = 0; g < groups; ++g) {
    const __mmask16 mask = g + 1 < groups ? __mmask16{0xffff} : last;
    int32_t* to = maximum + g * kLanes;
    const __m512i before = _mm512_maskz_loadu_epi32(mask, to);
    _mm512_mask_storeu_epi32(to, mask, _mm512_maskz_max_epi32(0xffff, before, largest[g]));
  }
}

QAT_AVX512 void absmax_pair(const PairSource& s, const float* low, const float* high,
                            int32_t* maximum) {
  static_assert(kBlockColumns <= 4 * kLanes && kBlockRows <= 4 * kLanes);
  if (s.count > 3 * kLanes) return absmax_groups<4>(s, low, high, maximum);
  if (s.count > 2 * kLanes) return absmax_groups<3>(s, low, high, maximum);
  if (s.count > kLanes) return absmax_groups<2>(s, low, high, maximum);
  absmax_groups<1>(s, low, high, maximum);
}

// With masks, because most widths leave a remainder, which GCC 12 would do one by one.
QAT_AVX512 void pair_grad(const PairSource& s, const float* low, const float* high,
                          const float* inverse, uint32_t* out) {
  for (int64_t p = 0; p < s.positions; ++p, low += s.stride, high += s.stride, out += s.width) {
    for (int64_t i = 0; i < s.width; i += kLanes) {
      const __mmask16 to = mask_of(s.width - i);
      const __mmask16 from = mask_of(std::max<int64_t>(0, s.count - i));
      const __m512 scale = _mm512_maskz_loadu_ps(from, inverse + i);
      const __m512 a = _mm512_mul_ps(_mm512_maskz_loadu_ps(from, low + i), scale);
      const __m512 b = _mm512_mul_ps(_mm512_maskz_loadu_ps(from, high + i), scale);
      _mm512_mask_storeu_epi32(
          out + i, to,
          pair(_mm512_maskz_cvtps_epi32(0xffff, a), _mm512_maskz_cvtps_epi32(0xffff, b)));
    }
  }
}

QAT_AVX512 inline __attribute__((always_inline)) __m512i centred(const uint8_t* codes,
                                                                 __mmask16 mask, __m512i flip,
                                                                 __m512i zero_point) {
  const __m512i q = _mm512_maskz_cvtepu8_epi32(mask, _mm_maskz_loadu_epi8(mask, codes));
  return _mm512_maskz_sub_epi32(mask, _mm512_xor_si512(q, flip), zero_point);
}

QAT_AVX512 void pair_codes(const PairSource& s, const uint8_t* low, const uint8_t* high,
                           uint8_t flip, int32_t zero_point, uint32_t* out) {
  const __m512i flips = _mm512_set1_epi32(flip), zero = _mm512_set1_epi32(zero_point);
  for (int64_t p = 0; p < s.positions; ++p, low += s.stride, high += s.stride, out += s.width) {
    for (int64_t i = 0; i < s.width; i += kLanes) {
      const __mmask16 from = mask_of(std::max<int64_t>(0, s.count - i));
      _mm512_mask_storeu_epi32(
          out + i, mask_of(s.width - i),
          pair(centred(low + i, from, flips, zero), centred(high + i, from, flips, zero)));
    }
  }
}

QAT_AVX512 void pair_weights(const PairSource& s, const int8_t* low, const int8_t* high,
                             uint32_t* out) {
  pair_weights_body(s, low, high, out);
}

QAT_AVX512 void store_rows(const float* acc, int64_t width, float scale, const int64_t* offsets,
                           int64_t rows, int64_t columns, float* out) {
  store_rows_body(acc, width, scale, offsets, rows, columns, out);
}

QAT_AVX512 void scatter(const ScatterTile& t, float* out) { scatter_body(t, out); }

template <int rows, int vectors>
using VnniTiles = Avx512Tiles<true, rows, vectors>;
template <int rows, int vectors>
using PlainTiles = Avx512Tiles<false, rows, vectors>;

template <template <int, int> class Tiles>
constexpr Kernels make(const char* name) {
  Kernels kernels{};
  kernels.name = name;
  kernels.lanes = kLanes;
  kernels.max_vectors = 4;
  kernels.absmax = absmax;
  kernels.absmax_pair = absmax_pair;
  kernels.round_grad = round_grad;
  kernels.pair_grad = pair_grad;
  kernels.pair_codes = pair_codes;
  kernels.pair_weights = pair_weights;
  kernels.store_rows = store_rows;
  kernels.scatter = scatter;
  fill_tiles<Tiles, 1, 12>(kernels);
  fill_tiles<Tiles, 2, 12>(kernels);
  fill_tiles<Tiles, 3, 8>(kernels);
  fill_tiles<Tiles, 4, 6>(kernels);
  return kernels;
}

}  // namespace

const Kernels& avx512_kernels() {
  static constexpr Kernels kKernels = make<PlainTiles>("avx512");
  return kKernels;
}

const Kernels& avx512_vnni_kernels() {
  static constexpr Kernels kKernels = make<VnniTiles>("avx512_vnni");
  return kKernels;
}

}  // namespace qat::kernels::s16
#endif
