// Tiles of int16 pairs for vpmaddwd, added in int32.

#include "kernels/cpu/conv_backward_s16_prepare_body.h"
#include "kernels/cpu/conv_backward_s16_table.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define QAT_AVX2 __attribute__((target("avx2")))

namespace qat::kernels::s16 {
namespace {

constexpr int kLanes = 8;

QAT_AVX2 inline __attribute__((always_inline)) __m256i load(const uint32_t* words) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
}

QAT_AVX2 inline __attribute__((always_inline)) void add_to(float* to, __m256 sum, bool first) {
  _mm256_storeu_ps(to, first ? sum : _mm256_add_ps(_mm256_loadu_ps(to), sum));
}

template <int rows, int vectors>
QAT_AVX2 inline __attribute__((always_inline)) void flush(const __m256i (&acc)[rows][vectors],
                                                          const DataTile& t) {
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      add_to(t.acc + r * t.pair_stride + v * kLanes, _mm256_cvtepi32_ps(acc[r][v]), t.first);
    }
  }
}

template <int rows, int vectors>
QAT_AVX2 inline __attribute__((always_inline)) void flush(const __m256i (&acc)[rows][vectors],
                                                          const WeightTile& t) {
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      const __m256 scale =
          t.rows_are_grad ? _mm256_set1_ps(t.scale[r]) : _mm256_loadu_ps(t.scale + v * kLanes);
      add_to(t.acc + r * t.column_width + v * kLanes,
             _mm256_mul_ps(_mm256_cvtepi32_ps(acc[r][v]), scale), t.first);
    }
  }
}

template <int rows, int vectors>
QAT_AVX2 inline __attribute__((always_inline)) void store(const __m256i (&acc)[rows][vectors],
                                                          const DataTile& t) {
  const __m256 scale = _mm256_set1_ps(t.scale);
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) {
    float* to = t.result + t.offsets[r];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      _mm256_storeu_ps(to + v * kLanes, _mm256_mul_ps(_mm256_cvtepi32_ps(acc[r][v]), scale));
    }
  }
}

template <int rows, int vectors>
struct Avx2Tiles {
  QAT_AVX2 static void data(const DataTile& t) {
    __m256i acc[rows][vectors];
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) acc[r][v] = _mm256_setzero_si256();
    }
    for (int64_t tap = 0; tap < t.taps; ++tap) {
      const uint32_t* weights = t.weights + tap * t.tap_stride;
      const int64_t end = t.tap_offsets[tap] + t.pairs;
      for (int64_t at = t.tap_offsets[tap]; at < end; ++at, weights += t.pair_stride) {
        __m256i w[vectors];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) w[v] = load(weights + v * kLanes);
#pragma GCC unroll 16
        for (int r = 0; r < rows; ++r) {
          const __m256i x = _mm256_set1_epi32(static_cast<int>(t.positions[r][at]));
#pragma GCC unroll 4
          for (int v = 0; v < vectors; ++v)
            acc[r][v] = _mm256_add_epi32(acc[r][v], _mm256_madd_epi16(x, w[v]));
        }
      }
    }
    if (t.result != nullptr) {
      store<rows, vectors>(acc, t);
    } else {
      flush<rows, vectors>(acc, t);
    }
  }

  QAT_AVX2 static void weight(const WeightTile& t) {
    __m256i acc[rows][vectors];
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) acc[r][v] = _mm256_setzero_si256();
    }
    for (int64_t i = 0; i < t.run_count; ++i) {
      const Run& run = t.runs[i];
      const uint32_t* a = t.rows + (t.rows_are_grad ? run.grad : run.input) * t.row_width;
      const uint32_t* b = t.columns + (t.rows_are_grad ? run.input : run.grad) * t.column_width;
      for (int64_t p = 0; p < run.count; ++p, a += t.row_step, b += t.column_step) {
        __m256i w[vectors];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) w[v] = load(b + v * kLanes);
#pragma GCC unroll 16
        for (int r = 0; r < rows; ++r) {
          const __m256i x = _mm256_set1_epi32(static_cast<int>(a[r]));
#pragma GCC unroll 4
          for (int v = 0; v < vectors; ++v)
            acc[r][v] = _mm256_add_epi32(acc[r][v], _mm256_madd_epi16(x, w[v]));
        }
      }
    }
    flush<rows, vectors>(acc, t);
  }
};

QAT_AVX2 void absmax(const float* x, int64_t n, int64_t width, int32_t* maximum) {
  absmax_body(x, n, width, maximum);
}

QAT_AVX2 void round_grad(const float* x, int64_t n, const float* factor, int64_t width,
                         float inverse, int16_t* out) {
  round_grad_body(x, n, factor, width, inverse, out);
}

QAT_AVX2 void absmax_pair(const PairSource& s, const float* low, const float* high,
                          int32_t* maximum) {
  absmax_pair_body(s, low, high, maximum);
}

QAT_AVX2 void pair_grad(const PairSource& s, const float* low, const float* high,
                        const float* inverse, uint32_t* out) {
  pair_grad_body(s, low, high, inverse, out);
}

QAT_AVX2 void pair_codes(const PairSource& s, const uint8_t* low, const uint8_t* high, uint8_t flip,
                         int32_t zero_point, uint32_t* out) {
  pair_codes_body(s, low, high, flip, zero_point, out);
}

QAT_AVX2 void pair_weights(const PairSource& s, const int8_t* low, const int8_t* high,
                           uint32_t* out) {
  pair_weights_body(s, low, high, out);
}

QAT_AVX2 void store_rows(const float* acc, int64_t width, float scale, const int64_t* offsets,
                         int64_t rows, int64_t columns, float* out) {
  store_rows_body(acc, width, scale, offsets, rows, columns, out);
}

QAT_AVX2 void scatter(const ScatterTile& t, float* out) { scatter_body(t, out); }

constexpr Kernels make() {
  Kernels kernels{};
  kernels.name = "avx2";
  kernels.lanes = kLanes;
  kernels.max_vectors = 2;
  kernels.absmax = absmax;
  kernels.absmax_pair = absmax_pair;
  kernels.round_grad = round_grad;
  kernels.pair_grad = pair_grad;
  kernels.pair_codes = pair_codes;
  kernels.pair_weights = pair_weights;
  kernels.store_rows = store_rows;
  kernels.scatter = scatter;
  fill_tiles<Avx2Tiles, 1, 12>(kernels);
  fill_tiles<Avx2Tiles, 2, 6>(kernels);
  return kernels;
}

}  // namespace

const Kernels& avx2_kernels() {
  static constexpr Kernels kKernels = make();
  return kKernels;
}

}  // namespace qat::kernels::s16
#endif
