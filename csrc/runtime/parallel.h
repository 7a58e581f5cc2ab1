#pragma once
// Splitting loops over threads, and compiling a loop for several instruction sets.

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "runtime/team.h"

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

// Calls body(task, member) for tasks [0, n), in any order and at most `threads` at once; `member`,
// below `threads`, is another one for those that run at the same time. By the team that the calling
// thread leads, or in a parallel region; one after the other within another task. The body must not
// throw.
template <typename Body>
void parallel_tasks(int threads, int64_t n, const Body& body) {
  const ThreadRole& role = thread_role();
  if (n <= 1 || threads == 1 || role.in_piece) {
    for (int64_t i = 0; i < n; ++i) body(i, role.member);
  } else if (role.leads != nullptr) {
    struct Job {
      const Body& body;
      int64_t n, pieces;
    } job{body, n, std::min(n, Team::kMaxPieces)};
    const auto run = [](void* argument, int64_t piece, int member) noexcept {
      const Job& j = *static_cast<const Job*>(argument);
      const int64_t end = j.n * (piece + 1) / j.pieces;
      for (int64_t i = j.n * piece / j.pieces; i < end; ++i) j.body(i, member);
    };
    role.leads->share(run, &job, job.pieces);
  } else {
    // All threads, also those without a piece: libgomp ends threads that a region leaves out, and
    // the next larger one would pay for new ones.
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (int64_t i = 0; i < n; ++i) body(i, omp_get_thread_num());
  }
}

// threads: see resolve_threads. Calls body(begin, end), or body(begin, end, member), on consecutive
// pieces of [0, n), each at least `grain` long except the last. The body must not throw.
template <typename Body>
void parallel_for(int threads, int64_t n, int64_t grain, const Body& body) {
  if (n <= 0) return;
  const int most = resolve_threads(threads);
  const int64_t pieces = std::clamp<int64_t>(n / std::max<int64_t>(grain, 1), 1, most);
  parallel_tasks(most, pieces, [&](int64_t piece, int member) {
    const int64_t begin = n * piece / pieces, end = n * (piece + 1) / pieces;
    if constexpr (std::is_invocable_v<Body, int64_t, int64_t, int>) {
      body(begin, end, member);
    } else {
      body(begin, end);
    }
  });
}

}  // namespace qat::runtime
