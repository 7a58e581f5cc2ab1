#pragma once
// Splitting loops over threads, and compiling a loop for several instruction sets.

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace qat::runtime {

// Note [Loops for several instruction sets]
// The runtime is built for baseline x86-64, where rounding is a function call per element. A
// function marked so is also compiled for AVX2 and chosen when the library is loaded; the bits do
// not depend on the choice (see Note [No contraction]). It must not contain an OpenMP parallel
// region: the outlined body would be compiled for the baseline alone.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define QAT_MULTIVERSION __attribute__((target_clones("avx2", "default")))
#else
#define QAT_MULTIVERSION
#endif

// Below this many elements a second thread costs more than it gives.
constexpr int64_t kElementGrain = 16384;

// 0 asks for OpenMP's setting of the calling thread, which OMP_NUM_THREADS, omp_set_num_threads and
// torch.set_num_threads change.
inline int resolve_threads(int requested) {
  return requested > 0 ? requested : std::max(1, omp_get_max_threads());
}

// How many pieces parallel_for makes.
inline int64_t piece_count(int threads, int64_t n, int64_t grain) {
  return std::clamp<int64_t>(n / std::max<int64_t>(grain, 1), 1, resolve_threads(threads));
}

// threads: see resolve_threads. Calls body(begin, end), or body(begin, end, piece) with the piece's
// number, on consecutive pieces of [0, n), each at least `grain` long except the last. The body
// must not throw.
template <typename Body>
void parallel_for(int threads, int64_t n, int64_t grain, const Body& body) {
  const auto call = [&](int64_t begin, int64_t end, int64_t piece) {
    if constexpr (std::is_invocable_v<Body, int64_t, int64_t, int64_t>) {
      body(begin, end, piece);
    } else {
      body(begin, end);
    }
  };
  if (n <= 0) return;
  const int64_t pieces = piece_count(threads, n, grain);
  if (pieces == 1) {
    call(0, n, 0);
    return;
  }
  // All threads, also those without a piece: libgomp ends threads that a region leaves out, and the
  // next larger one would pay for new ones.
#pragma omp parallel for num_threads(resolve_threads(threads)) schedule(static, 1)
  for (int64_t piece = 0; piece < pieces; ++piece) {
    call(n * piece / pieces, n * (piece + 1) / pieces, piece);
  }
}

}  // namespace qat::runtime
