#include "runtime/elementwise_ranges.h"

#include "numerics/requantize.h"
#include "runtime/parallel.h"

// A closure becomes a part of the loop that calls it, and so of that loop's instruction set.
#define QAT_INTO_LOOP __attribute__((always_inline))

namespace qat::runtime {
namespace {

using numerics::ActivationKind;

template <ActivationKind kind>
QAT_INLINE void activate_loop(const float* x, float* y, int64_t n, float p0, float p1) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = numerics::activate<kind>(x[i], p0, p1);
}

// element(i, j, k) with j and k the positions in two operands; loops for strides that are known.
template <typename Element>
QAT_INLINE void for_operands(int64_t sa, int64_t sb, int64_t n, const Element& element) {
  if (sa == 1 && sb == 1) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) element(i, i, i);
  } else if (sa == 1 && sb == 0) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) element(i, i, 0);
  } else if (sa == 0 && sb == 1) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) element(i, 0, i);
  } else {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) element(i, 0, 0);
  }
}

template <graph::Binary op>
QAT_INLINE float combine(float a, float b) {
  if constexpr (op == graph::Binary::mul) return numerics::mul(a, b);
  if constexpr (op == graph::Binary::sub) return numerics::add(a, -b);
  return numerics::add(a, b);
}

}  // namespace

QAT_MULTIVERSION void activate_range(const float* x, float* y, int64_t n, numerics::Activation a) {
  using K = ActivationKind;
  switch (a.kind) {
    case K::none:
      activate_loop<K::none>(x, y, n, a.p0, a.p1);
      break;
    case K::relu:
      activate_loop<K::relu>(x, y, n, a.p0, a.p1);
      break;
    case K::clamp:
      activate_loop<K::clamp>(x, y, n, a.p0, a.p1);
      break;
    case K::leaky_relu:
      activate_loop<K::leaky_relu>(x, y, n, a.p0, a.p1);
      break;
    case K::hardswish:
      activate_loop<K::hardswish>(x, y, n, a.p0, a.p1);
      break;
    case K::hardsigmoid:
      activate_loop<K::hardsigmoid>(x, y, n, a.p0, a.p1);
      break;
  }
}

QAT_MULTIVERSION void prelu_range(const float* x, Operand slope, float* y, int64_t n) {
  for_operands(1, slope.stride, n, [=](int64_t i, int64_t, int64_t k) QAT_INTO_LOOP {
    y[i] = numerics::activate<ActivationKind::leaky_relu>(x[i], slope.values[k], 0.0f);
  });
}

QAT_MULTIVERSION void affine_range(const float* x, Operand gain, Operand bias, float* y,
                                   int64_t n) {
  for_operands(gain.stride, bias.stride, n, [=](int64_t i, int64_t j, int64_t k) QAT_INTO_LOOP {
    y[i] = numerics::real_value(x[i], gain.values[j], bias.values[k]);
  });
}

QAT_MULTIVERSION void combine_range(graph::Binary op, Operand a, Operand b, float* y, int64_t n) {
  const auto loop = [=]<graph::Binary kind>() QAT_INTO_LOOP {
    for_operands(a.stride, b.stride, n, [=](int64_t i, int64_t j, int64_t k) QAT_INTO_LOOP {
      y[i] = combine<kind>(a.values[j], b.values[k]);
    });
  };
  if (op == graph::Binary::add) loop.template operator()<graph::Binary::add>();
  if (op == graph::Binary::sub) loop.template operator()<graph::Binary::sub>();
  if (op == graph::Binary::mul) loop.template operator()<graph::Binary::mul>();
}

}  // namespace qat::runtime
