// The tiles of conv_backward_f32_kernels.h, for the instruction set that this file is compiled for.

#include <cmath>
#include <utility>

#include "kernels/cpu/conv_backward_f32_kernels.h"
#include "kernels/cpu/vector.h"

#define QAT_STRING_OF(x) #x
#define QAT_STRING(x) QAT_STRING_OF(x)
#define QAT_INLINE_MEMBER inline __attribute__((always_inline))

namespace qat::kernels::QAT_CPU_CAPABILITY {
namespace {

using f32::CodeRows;
using f32::DataTile;
using f32::GradRows;
using f32::Kernels;
using f32::kMaxVectors;
using f32::Term;
using f32::WeightTile;

QAT_INLINE FloatVector broadcast(float x) {
#if defined(__AVX512F__)
  return reinterpret_cast<FloatVector>(_mm512_set1_ps(x));
#elif defined(__AVX__)
  return reinterpret_cast<FloatVector>(_mm256_set1_ps(x));
#else
  return x - FloatVector{};
#endif
}

// x * y + sum with one rounding. Without an instruction for it, as on x86-64 of before 2013, it is
// a function call per lane: right, and slow.
QAT_INLINE FloatVector fused(FloatVector x, FloatVector y, FloatVector sum) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(x, y, sum);
#elif defined(__FMA__)
  return _mm256_fmadd_ps(x, y, sum);
#elif defined(__aarch64__)
  return vfmaq_f32(sum, x, y);
#else
  FloatVector result;
  for (int64_t i = 0; i < kLanes; ++i) result[i] = std::fma(x[i], y[i], sum[i]);
  return result;
#endif
}

template <int rows, int vectors>
struct Sums {
  FloatVector acc[rows][vectors];

  QAT_INLINE_MEMBER void clear() {
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) acc[r][v] = FloatVector{};
    }
  }

  // factor(r): that of row r.
  template <typename Factor>
  QAT_INLINE_MEMBER void add(const float* columns, const Factor& factor) {
    FloatVector y[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) y[v] = load<FloatVector>(columns + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      const FloatVector x = broadcast(factor(r));
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) acc[r][v] = fused(x, y[v], acc[r][v]);
    }
  }

  // to(r): where row r goes.
  template <typename To>
  QAT_INLINE_MEMBER void write(bool first, const To& to) const {
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      float* row = to(r);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) {
        float* place = row + v * kLanes;
        store(place, first ? acc[r][v] : load<FloatVector>(place) + acc[r][v]);
      }
    }
  }
};

template <int rows, int vectors>
void data_tile(const DataTile& t) {
  Sums<rows, vectors> sums;
  sums.clear();
  const float* columns = t.columns;
  int64_t i = 0;
  // Four terms per turn: with more than six rows their addresses come from memory.
  for (; i + 4 <= t.count; i += 4) {
#pragma GCC unroll 4
    for (int64_t j = 0; j < 4; ++j, columns += t.width) {
      sums.add(columns, [&](int r) { return t.rows[r][i + j]; });
    }
  }
  for (; i < t.count; ++i, columns += t.width) {
    sums.add(columns, [&](int r) { return t.rows[r][i]; });
  }
  sums.write(t.first, [&](int r) { return t.acc[r]; });
}

template <int rows, int vectors>
void weight_tile(const WeightTile& t) {
  Sums<rows, vectors> sums;
  sums.clear();
  for (int64_t i = 0; i < t.count; ++i) {
    const float* factors = t.rows + t.terms[i].row;
    sums.add(t.columns + t.terms[i].column, [&](int r) { return factors[r]; });
  }
  sums.write(false, [&](int r) { return t.acc + r * t.width; });
}

void centre(const CodeRows& x, float* out) {
  const uint8_t* codes = x.codes.data;
  const int32_t flip = x.codes.flip, zero_point = x.codes.zero_point;
  for (int64_t p = 0; p < x.positions; ++p, codes += x.stride, out += x.width) {
    int64_t i = 0;
    for (; i + kLanes <= x.count; i += kLanes) {
      const IntVector centred = (load_codes(codes + i) ^ flip) - zero_point;
      store(out + i, __builtin_convertvector(centred, FloatVector));
    }
    for (; i < x.count; ++i) out[i] = static_cast<float>((codes[i] ^ flip) - zero_point);
    for (; i < x.width; ++i) out[i] = 0.0f;
  }
}

void copy(const GradRows& x, float* out) {
  const float* grad = x.grad;
  for (int64_t p = 0; p < x.positions; ++p, grad += x.stride, out += x.width) {
    int64_t i = 0;
    for (; i + kLanes <= x.count; i += kLanes) store(out + i, load<FloatVector>(grad + i));
    for (; i < x.count; ++i) out[i] = grad[i];
    for (; i < x.width; ++i) out[i] = 0.0f;
  }
}

void scale_weights(const int8_t* weight, int64_t count, int64_t width, float scale, float* out) {
  // load_codes reads bytes without a sign; 128 more and less again gives them one.
  const IntVector flip = IntVector{} + 128;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(weight + i);
    const IntVector codes = (load_codes(bytes) ^ flip) - flip;
    store(out + i, __builtin_convertvector(codes, FloatVector) * scale);
  }
  for (; i < count; ++i) out[i] = numerics::mul(static_cast<float>(weight[i]), scale);
  for (; i < width; ++i) out[i] = 0.0f;
}

void scatter(const ScatterTile& t, float* out) { scatter_body(t, out); }

template <int vectors, int... rows>
constexpr void fill(Kernels& kernels, std::integer_sequence<int, rows...>) {
  kernels.max_rows[vectors] = sizeof...(rows);
  ((kernels.data_tile[vectors][rows + 1] = &data_tile<rows + 1, vectors>), ...);
  ((kernels.weight_tile[vectors][rows + 1] = &weight_tile<rows + 1, vectors>), ...);
}

// 32 registers of AVX-512 and NEON hold 24 sums, a row of columns and a factor; 16 hold 12.
constexpr Kernels make() {
  Kernels kernels;
  kernels.name = QAT_STRING(QAT_CPU_CAPABILITY);
  kernels.lanes = kLanes;
  kernels.centre = centre;
  kernels.copy = copy;
  kernels.scale_weights = scale_weights;
  kernels.scatter = scatter;
  fill<1>(kernels, std::make_integer_sequence<int, 12>{});
#if defined(__AVX512F__) || defined(__aarch64__)
  kernels.max_vectors = 4;
  fill<2>(kernels, std::make_integer_sequence<int, 12>{});
  fill<3>(kernels, std::make_integer_sequence<int, 8>{});
  fill<4>(kernels, std::make_integer_sequence<int, 6>{});
#else
  kernels.max_vectors = 2;
  fill<2>(kernels, std::make_integer_sequence<int, 6>{});
#endif
  return kernels;
}

}  // namespace

const Kernels conv_backward_f32 = make();

}  // namespace qat::kernels::QAT_CPU_CAPABILITY
