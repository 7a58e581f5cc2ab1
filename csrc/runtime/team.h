#pragma once
// The threads of one run, which stay together from its first node to its last.

#include <atomic>
#include <cstdint>
#include <memory>

namespace qat::runtime {

// Note [Teams]
// A network at batch 1 has some fifty loops of 20 to 100 us. A parallel region for each would put
// the other threads to sleep in between (OMP_WAIT_POLICY=passive), and waking one takes as long as
// a loop; or it would keep them spinning after the run, for cores that somebody else may need
// (active). So a run is one region. Its first thread, the lead, walks over the nodes. The others
// help with the pieces of its loops: between two loops they spin for kSpin at most, then sleep
// until the lead wakes them. The lead waits for pieces that somebody has begun and for no others:
// whoever comes late, or lost its processor, finds its pieces done. Only the end of the region
// waits for everybody, for as long as a thread needs to look and leave.
//
// Note [Claiming pieces]
// Each member starts with a share of consecutive pieces, so that a thread mostly meets rows that it
// wrote one node before; who has none left takes the last ones of another's share. A share is one
// word, {job, first, end}, which only a compare-and-swap changes: the job's number makes it fail
// for a thread that looked at a share, lost its processor, and comes back in a later job.
//
// Memory order. The lead stores function, argument and the number of unfinished pieces, then the
// shares with release; a helper loads a share with acquire before it reads the others. What it has
// read belongs to the job of the share if the exchange succeeds: the lead does not store the next
// job's before all pieces are finished, and this one is not yet begun. Results of pieces reach the
// lead by the release decrements of `unfinished_`, which it loads with acquire; results of the lead
// and, through it, those of earlier jobs reach the helpers by the shares. Sleeping: the helper
// counts itself as asleep, then compares `job_`; the lead increments `job_`, then reads the count.
// Both in the single order of seq_cst, so that one of the two sees the other.

// A piece's number and that of the member that runs it. Must not throw.
using Piece = void (*)(void* argument, int64_t piece, int member);

class Team {
 public:
  // Of so many members at most.
  explicit Team(int capacity);

  int capacity() const { return capacity_; }

  // Runs walk() on the calling thread, the lead, with the other members at hand. What it throws
  // arrives at the caller.
  template <typename Walk>
  void run(int members, const Walk& walk) {
    run(
        members, [](const void* argument) { (*static_cast<const Walk*>(argument))(); }, &walk);
  }

  // Within run(), on the lead, not within a piece: piece(argument, i, member) for i in [0, pieces).
  void share(Piece piece, void* argument, int64_t pieces);

  // Pieces are numbered in 16 bits.
  static constexpr int64_t kMaxPieces = 0xffff;

 private:
  struct alignas(64) Share {
    std::atomic<uint64_t> word{0};
  };

  void run(int members, void (*walk)(const void*), const void* argument);
  void help(int member);
  void work(int member);
  void wait_for_job(uint32_t seen);
  void wait_for_pieces();
  void wake(int64_t wanted);
  void dismiss();

  const int capacity_;
  int members_ = 1;  // of this run
  const std::unique_ptr<Share[]> shares_;
  alignas(64) std::atomic<uint32_t> job_{0};
  std::atomic<bool> dismissed_{false};
  std::atomic<int> asleep_{0};
  std::atomic<Piece> piece_{nullptr};
  std::atomic<void*> argument_{nullptr};
  alignas(64) std::atomic<uint32_t> unfinished_{0};
  std::atomic<int> inside_{0};  // helpers
};

// What the calling thread is in a team.
struct ThreadRole {
  Team* leads = nullptr;
  bool in_piece = false;  // or waits for work
  int member = 0;
};
ThreadRole& thread_role();

}  // namespace qat::runtime
