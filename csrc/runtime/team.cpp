#include "runtime/team.h"

#include <omp.h>

#include <algorithm>
#include <chrono>
#include <exception>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace qat::runtime {
namespace {

// About what it takes until a thread that was woken runs, 20 to 50 us as measured: who has waited
// so long loses at most as much again by sleeping.
constexpr std::chrono::microseconds kSpin{50};
constexpr int kPausesPerLook = 32;  // at the clock

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits for kSpin at most; whether `ready` became true.
template <typename Ready>
bool spin(const Ready& ready) {
  const auto rest = [&] {
    for (int i = 0; i < kPausesPerLook; ++i) {
      if (ready()) return true;
      pause();
    }
    return false;
  };
  if (rest()) return true;
  const auto end = std::chrono::steady_clock::now() + kSpin;
  while (!rest()) {
    if (std::chrono::steady_clock::now() >= end) return false;
  }
  return true;
}

// The pieces of a share that nobody has claimed.
struct Rest {
  uint32_t job;
  uint16_t first, end;

  explicit Rest(uint64_t word)
      : job(static_cast<uint32_t>(word >> 32)),
        first(static_cast<uint16_t>(word >> 16)),
        end(static_cast<uint16_t>(word)) {}
  Rest(uint32_t number, int64_t from, int64_t to)
      : job(number), first(static_cast<uint16_t>(from)), end(static_cast<uint16_t>(to)) {}
  uint64_t word() const { return uint64_t{job} << 32 | uint32_t{first} << 16 | end; }
};

thread_local ThreadRole role;

}  // namespace

ThreadRole& thread_role() { return role; }

Team::Team(int capacity)
    : capacity_(capacity), shares_(std::make_unique<Share[]>(static_cast<size_t>(capacity))) {}

void Team::run(int members, void (*walk)(const void*), const void* argument) {
  members_ = members;
  dismissed_.store(false, std::memory_order_relaxed);
  inside_.store(0, std::memory_order_relaxed);
  std::exception_ptr failure;
  const auto lead = [&] {
    const ThreadRole before = role;
    role = {this, false, 0};
    try {
      walk(argument);
    } catch (...) {
      failure = std::current_exception();
    }
    role = before;
  };
  if (members == 1) {  // a region of one thread would allocate
    lead();
  } else {
#pragma omp parallel num_threads(members)
    {
      const int member = omp_get_thread_num();
      if (member == 0) {
        lead();
        dismiss();
      } else {
        help(member);
      }
    }
  }
  if (failure) std::rethrow_exception(failure);
}

void Team::help(int member) {
  inside_.fetch_add(1, std::memory_order_relaxed);
  const ThreadRole before = role;
  role = {nullptr, true, member};
  for (;;) {
    const uint32_t job = job_.load(std::memory_order_acquire);
    if (dismissed_.load(std::memory_order_relaxed)) break;
    work(member);
    wait_for_job(job);
  }
  role = before;
  inside_.fetch_sub(1, std::memory_order_relaxed);
}

void Team::share(Piece piece, void* argument, int64_t pieces) {
  const uint32_t job = job_.load(std::memory_order_relaxed) + 1;
  const int64_t sharers = std::min<int64_t>(members_, pieces);
  unfinished_.store(static_cast<uint32_t>(pieces), std::memory_order_relaxed);
  piece_.store(piece, std::memory_order_relaxed);
  argument_.store(argument, std::memory_order_relaxed);
  for (int64_t i = 0; i < sharers; ++i) {
    const Rest rest(job, pieces * i / sharers, pieces * (i + 1) / sharers);
    shares_[static_cast<size_t>(i)].word.store(rest.word(), std::memory_order_release);
  }
  job_.fetch_add(1);
  wake(sharers - 1);
  role.in_piece = true;
  work(0);
  role.in_piece = false;
  wait_for_pieces();
}

// Claims and runs pieces until none is left.
void Team::work(int member) {
  uint32_t finished = 0;
  for (int i = 0; i < members_; ++i) {
    const int owner = (member + i) % members_;
    std::atomic<uint64_t>& word = shares_[static_cast<size_t>(owner)].word;
    uint64_t seen = word.load(std::memory_order_acquire);
    for (;;) {
      Rest rest(seen);
      if (rest.first >= rest.end) break;
      const Piece piece = piece_.load(std::memory_order_relaxed);
      void* const argument = argument_.load(std::memory_order_relaxed);
      const int64_t claimed = i == 0 ? rest.first++ : --rest.end;
      if (!word.compare_exchange_weak(seen, rest.word(), std::memory_order_acquire)) continue;
      piece(argument, claimed, member);
      ++finished;
      seen = word.load(std::memory_order_acquire);
    }
  }
  if (finished > 0 && unfinished_.fetch_sub(finished) == finished) unfinished_.notify_one();
}

void Team::wait_for_job(uint32_t seen) {
  if (spin([&] { return job_.load(std::memory_order_relaxed) != seen; })) return;
  asleep_.fetch_add(1);
  job_.wait(seen);
  asleep_.fetch_sub(1, std::memory_order_relaxed);
}

void Team::wait_for_pieces() {
  const auto unfinished = [&] { return unfinished_.load(std::memory_order_acquire); };
  if (spin([&] { return unfinished() == 0; })) return;
  while (const uint32_t n = unfinished()) unfinished_.wait(n);
}

void Team::wake(int64_t wanted) {
  const int64_t asleep = asleep_.load(), awake = members_ - 1 - asleep;
  for (int64_t i = std::min(asleep, wanted - awake); i > 0; --i) job_.notify_one();
}

// The region ends when all are back, and OpenMP may put to sleep who is early. The lead, for whom
// the caller waits, lets those go first that are about to leave.
void Team::dismiss() {
  dismissed_.store(true, std::memory_order_relaxed);
  job_.fetch_add(1);
  job_.notify_all();
  spin([&] { return inside_.load(std::memory_order_relaxed) == 0; });
}

}  // namespace qat::runtime
