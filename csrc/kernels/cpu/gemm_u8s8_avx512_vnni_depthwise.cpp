// Depthwise outputs by vpdpbusd, four taps to an instruction.

#include "kernels/cpu/depthwise_quads.h"

#if defined(__x86_64__)
#include "kernels/cpu/intrinsics.h"

#define QAT_VNNI \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,prefer-vector-width=512")))
#define QAT_VNNI_INLINE QAT_VNNI static inline __attribute__((always_inline))

namespace qat::kernels::u8s8 {
namespace {

// Unpacking works on 128-bit lanes: vector j of an interleaved quad holds, in lane l, channels
// 16 * l + 4 * j to 16 * l + 4 * j + 3. `store` undoes that.
struct Wide512 {
  using Vector = __m512i;
  static constexpr int channels = 64;
  QAT_VNNI_INLINE Vector zero() { return _mm512_setzero_si512(); }
  QAT_VNNI_INLINE Vector load(const void* p) { return _mm512_loadu_si512(p); }
  QAT_VNNI_INLINE Vector low8(Vector a, Vector b) { return _mm512_unpacklo_epi8(a, b); }
  QAT_VNNI_INLINE Vector high8(Vector a, Vector b) { return _mm512_unpackhi_epi8(a, b); }
  QAT_VNNI_INLINE Vector low16(Vector a, Vector b) { return _mm512_unpacklo_epi16(a, b); }
  QAT_VNNI_INLINE Vector high16(Vector a, Vector b) { return _mm512_unpackhi_epi16(a, b); }
  QAT_VNNI_INLINE Vector dot(Vector acc, Vector x, Vector w) {
    return _mm512_dpbusd_epi32(acc, x, w);
  }
  QAT_VNNI_INLINE void store(const Vector* acc, const int32_t* start, int32_t* to) {
    const Vector a = _mm512_shuffle_i32x4(acc[0], acc[1], 0x44);  // lanes 0, 1 of both
    const Vector b = _mm512_shuffle_i32x4(acc[2], acc[3], 0x44);
    const Vector c = _mm512_shuffle_i32x4(acc[0], acc[1], 0xee);  // lanes 2, 3
    const Vector d = _mm512_shuffle_i32x4(acc[2], acc[3], 0xee);
    store_sum(_mm512_shuffle_i32x4(a, b, 0x88), start, to);
    store_sum(_mm512_shuffle_i32x4(a, b, 0xdd), start + 16, to + 16);
    store_sum(_mm512_shuffle_i32x4(c, d, 0x88), start + 32, to + 32);
    store_sum(_mm512_shuffle_i32x4(c, d, 0xdd), start + 48, to + 48);
  }
  QAT_VNNI_INLINE void store_sum(Vector a, const int32_t* start, int32_t* to) {
    _mm512_storeu_si512(to, _mm512_add_epi32(a, _mm512_loadu_si512(start)));
  }
};

struct Wide256 {
  using Vector = __m256i;
  static constexpr int channels = 32;
  QAT_VNNI_INLINE Vector zero() { return _mm256_setzero_si256(); }
  QAT_VNNI_INLINE Vector load(const void* p) {
    return _mm256_loadu_si256(static_cast<const Vector*>(p));
  }
  QAT_VNNI_INLINE Vector low8(Vector a, Vector b) { return _mm256_unpacklo_epi8(a, b); }
  QAT_VNNI_INLINE Vector high8(Vector a, Vector b) { return _mm256_unpackhi_epi8(a, b); }
  QAT_VNNI_INLINE Vector low16(Vector a, Vector b) { return _mm256_unpacklo_epi16(a, b); }
  QAT_VNNI_INLINE Vector high16(Vector a, Vector b) { return _mm256_unpackhi_epi16(a, b); }
  QAT_VNNI_INLINE Vector dot(Vector acc, Vector x, Vector w) {
    return _mm256_dpbusd_epi32(acc, x, w);
  }
  QAT_VNNI_INLINE void store(const Vector* acc, const int32_t* start, int32_t* to) {
    store_sum(_mm256_permute2x128_si256(acc[0], acc[1], 0x20), start, to);
    store_sum(_mm256_permute2x128_si256(acc[2], acc[3], 0x20), start + 8, to + 8);
    store_sum(_mm256_permute2x128_si256(acc[0], acc[1], 0x31), start + 16, to + 16);
    store_sum(_mm256_permute2x128_si256(acc[2], acc[3], 0x31), start + 24, to + 24);
  }
  QAT_VNNI_INLINE void store_sum(Vector a, const int32_t* start, int32_t* to) {
    const Vector sum = _mm256_add_epi32(a, load(start));
    _mm256_storeu_si256(reinterpret_cast<Vector*>(to), sum);
  }
};

template <typename Wide>
struct Quad {
  typename Wide::Vector v[4];
};

template <typename Wide>
QAT_VNNI_INLINE Quad<Wide> interleave(const uint8_t* at, const int64_t* taps) {
  const auto a = Wide::load(at + taps[0]), b = Wide::load(at + taps[1]);
  const auto c = Wide::load(at + taps[2]), d = Wide::load(at + taps[3]);
  const auto low01 = Wide::low8(a, b), high01 = Wide::high8(a, b);
  const auto low23 = Wide::low8(c, d), high23 = Wide::high8(c, d);
  return {{Wide::low16(low01, low23), Wide::high16(low01, low23), Wide::low16(high01, high23),
           Wide::high16(high01, high23)}};
}

template <typename Wide>
QAT_VNNI_INLINE void add_quad(typename Wide::Vector* acc, const Quad<Wide>& x, const int8_t* w) {
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    acc[j] = Wide::dot(acc[j], x.v[j], Wide::load(w + j * Wide::channels));
  }
}

template <typename Wide>
QAT_VNNI void any_kernel(const DepthwiseQuads& t) {
  for (int64_t r = 0; r < t.rows; ++r) {
    typename Wide::Vector acc[4] = {Wide::zero(), Wide::zero(), Wide::zero(), Wide::zero()};
    for (int64_t q = 0; q < t.quads; ++q) {
      add_quad<Wide>(acc, interleave<Wide>(t.positions[r] + t.channel, t.tap_offsets + 4 * q),
                     t.weights + q * 4 * Wide::channels);
    }
    Wide::store(acc, t.start, t.acc + r * Wide::channels);
  }
}

// The quads are the columns of a 3x3 kernel; those that the position before has read are kept.
template <typename Wide>
QAT_VNNI void three_columns(const DepthwiseQuads& t) {
  const int64_t* taps = t.tap_offsets;
  const int64_t one = taps[4] - taps[0], two = taps[8] - taps[0];
  const auto column = [&](int64_t r, int x) QAT_VNNI __attribute__((always_inline)) {
    return interleave<Wide>(t.positions[r] + t.channel, taps + 4 * x);
  };
  Quad<Wide> a = column(0, 0), b = column(0, 1), c = column(0, 2);
  for (int64_t r = 0;;) {
    typename Wide::Vector acc[4] = {Wide::zero(), Wide::zero(), Wide::zero(), Wide::zero()};
    add_quad<Wide>(acc, a, t.weights);
    add_quad<Wide>(acc, b, t.weights + 4 * Wide::channels);
    add_quad<Wide>(acc, c, t.weights + 8 * Wide::channels);
    Wide::store(acc, t.start, t.acc + r * Wide::channels);
    if (++r == t.rows) return;
    const int64_t moved = t.positions[r] - t.positions[r - 1];
    if (moved == one) {
      a = b;
      b = c;
    } else {
      a = moved == two ? c : column(r, 0);
      b = column(r, 1);
    }
    c = column(r, 2);
  }
}

}  // namespace

void depthwise_quads_avx512_vnni(const DepthwiseQuads& t) {
  if (t.three_columns) {
    t.width == 64 ? three_columns<Wide512>(t) : three_columns<Wide256>(t);
  } else {
    t.width == 64 ? any_kernel<Wide512>(t) : any_kernel<Wide256>(t);
  }
}

}  // namespace qat::kernels::u8s8
#endif
