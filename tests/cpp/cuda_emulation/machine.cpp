#include "machine.h"

#include <setjmp.h>
#include <ucontext.h>

#include <array>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "error.h"
#include "shared_memory.h"

namespace qat::emulation {
namespace {

constexpr size_t kStack = 256 << 10;

// swapcontext() calls the kernel for the signal mask each time, which takes ten times as long as a
// jump; it serves for the first step onto a new stack.
struct Fiber {
  ucontext_t context;
  jmp_buf place;
  bool has_begun = false;
  std::unique_ptr<std::byte[]> stack = std::make_unique_for_overwrite<std::byte[]>(kStack);
};

enum class State { fresh, runs, at_barrier, at_warp, ended };

struct Thread {
  State state = State::fresh;
  Fiber* fiber = nullptr;
  Site site;
  bool value = false;
  unsigned meetings = 0;
  Copies copies;
};

// Two sets: a lane may send its next message before all have read its last one.
using Mailbox = std::array<std::array<Message, kWarp>, 2>;

unsigned place(unsigned i, unsigned n) {
  if (order == Order::forward) return i;
  if (order == Order::reverse) return n - 1 - i;
  return i % 2 == 0 ? i / 2 : n - 1 - i / 2;
}

std::string name(const Site& site) {
  return std::string(site.file_name()) + ":" + std::to_string(site.line());
}

bool is_same(const Site& a, const Site& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         std::strcmp(a.file_name(), b.file_name()) == 0;
}

class Machine {
 public:
  void run_block(unsigned threads, const std::function<void()>& kernel);
  bool meet_block(bool value, const Site& site);
  const Message* meet_warp(const void* message, size_t size, const Site& site);
  Copies& copies() { return current_->copies; }

 private:
  static void enter_fiber();
  void fiber_loop();
  Fiber* new_fiber();
  Fiber* free_fiber();
  Thread& at_turn(unsigned turn) { return threads_[first_ + place(turn, kWarp)]; }
  void set_current(Thread& thread);
  void resume(Thread& thread);
  void suspend(Fiber* fiber);
  bool next_begins();
  void run_warp();
  bool release_warp();
  bool release_block();

  const std::function<void()>* kernel_ = nullptr;
  jmp_buf scheduler_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> free_;
  std::vector<Thread> threads_;
  std::vector<Mailbox> mailboxes_;
  unsigned first_ = 0, turn_ = 0;  // of the warp that runs: its first thread, and whose turn it is
  Thread* current_ = nullptr;
  bool any_ = false;
};

Machine* machine = nullptr;
std::string reported;

void Machine::enter_fiber() { machine->fiber_loop(); }

// Threads that never wait share a fiber: a switch costs more than most of them do.
void Machine::fiber_loop() {
  for (;;) {
    (*kernel_)();
    current_->state = State::ended;
    if (next_begins()) continue;
    Fiber* self = current_->fiber;
    free_.push_back(self);
    suspend(self);
  }
}

Fiber* Machine::new_fiber() {
  Fiber* fiber = fibers_.emplace_back(std::make_unique<Fiber>()).get();
  getcontext(&fiber->context);
  fiber->context.uc_stack.ss_sp = fiber->stack.get();
  fiber->context.uc_stack.ss_size = kStack;
  fiber->context.uc_link = nullptr;
  makecontext(&fiber->context, &Machine::enter_fiber, 0);
  return fiber;
}

Fiber* Machine::free_fiber() {
  if (free_.empty()) return new_fiber();
  Fiber* fiber = free_.back();
  free_.pop_back();
  return fiber;
}

void Machine::set_current(Thread& thread) {
  current_ = &thread;
  thread.state = State::runs;
  threadIdx = {static_cast<unsigned>(&thread - threads_.data()), 0, 0};
}

void Machine::resume(Thread& thread) {
  if (thread.state == State::fresh) thread.fiber = free_fiber();
  set_current(thread);
  if (_setjmp(scheduler_) != 0) return;
  Fiber& fiber = *current_->fiber;
  if (fiber.has_begun) _longjmp(fiber.place, 1);
  fiber.has_begun = true;
  setcontext(&fiber.context);
}

void Machine::suspend(Fiber* fiber) {
  if (_setjmp(fiber->place) == 0) _longjmp(scheduler_, 1);
}

// Whether the thread whose turn is next has not begun; it then runs on the fiber of this one.
bool Machine::next_begins() {
  if (turn_ + 1 == kWarp) return false;
  Thread& next = at_turn(turn_ + 1);
  if (next.state != State::fresh) return false;
  ++turn_;
  next.fiber = current_->fiber;
  set_current(next);
  return true;
}

void Machine::run_warp() {
  do {
    for (turn_ = 0; turn_ < kWarp; ++turn_) {
      Thread& thread = at_turn(turn_);
      if (thread.state == State::fresh || thread.state == State::runs) resume(thread);
    }
  } while (release_warp());
}

bool Machine::release_warp() {
  const Thread* waits = nullptr;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if (threads_[first_ + lane].state == State::at_warp) waits = &threads_[first_ + lane];
  }
  if (waits == nullptr) return false;
  const Site site = waits->site;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    Thread& thread = threads_[first_ + lane];
    if (thread.state != State::at_warp || !is_same(thread.site, site)) {
      throw Error(name(site) + ": expected all lanes of the warp here, lane " +
                  std::to_string(lane) + " went elsewhere");
    }
    thread.state = State::runs;
  }
  return true;
}

bool Machine::release_block() {
  size_t ended = 0;
  const Thread* waits = nullptr;
  for (const Thread& thread : threads_) {
    if (thread.state == State::ended) ++ended;
    if (thread.state == State::at_barrier) waits = &thread;
  }
  if (waits == nullptr) return false;
  if (ended != 0) {
    throw Error(name(waits->site) + ": expected all threads of the block at the barrier, " +
                std::to_string(ended) + " have ended");
  }
  const Site site = waits->site;
  any_ = false;
  for (Thread& thread : threads_) {
    if (!is_same(thread.site, site)) {
      throw Error(name(site) + ": expected all threads of the block at one barrier, some are at " +
                  name(thread.site));
    }
    any_ |= thread.value;
    thread.state = State::runs;
  }
  return true;
}

void Machine::run_block(unsigned threads, const std::function<void()>& kernel) {
  kernel_ = &kernel;
  threads_.assign(threads, {});
  mailboxes_.resize(threads / kWarp);
  fill_shared_memory(order == Order::reverse ? std::byte{0x5a} : std::byte{0xa5});
  do {
    for (unsigned turn = 0; turn < threads / kWarp; ++turn) {
      first_ = place(turn, threads / kWarp) * kWarp;
      run_warp();
    }
  } while (release_block());
}

bool Machine::meet_block(bool value, const Site& site) {
  Thread& self = *current_;
  self.site = site;
  self.value = value;
  self.state = State::at_barrier;
  suspend(self.fiber);
  return any_;
}

const Message* Machine::meet_warp(const void* message, size_t size, const Site& site) {
  Thread& self = *current_;
  const auto thread = static_cast<size_t>(&self - threads_.data());
  auto& messages = mailboxes_[thread / kWarp][self.meetings++ % 2];
  std::memcpy(messages[thread % kWarp].bytes, message, size);
  self.site = site;
  self.state = State::at_warp;
  suspend(self.fiber);
  return messages.data();
}

// The fibers of a failed grid stay where they are; the next grid gets a new machine.
void run_blocks(const Index& grid, unsigned threads, const std::function<void()>& kernel) {
  static std::unique_ptr<Machine> kept;
  if (!kept) kept = std::make_unique<Machine>();
  machine = kept.get();
  gridDim = grid;
  blockDim = {threads, 1, 1};
  try {
    for (unsigned turn = 0; turn < grid.x * grid.y; ++turn) {
      const unsigned block = place(turn, grid.x * grid.y);
      blockIdx = {block % grid.x, block / grid.x, 0};
      machine->run_block(threads, kernel);
    }
  } catch (...) {
    kept.reset();
    throw;
  }
}

}  // namespace

void run_grid(const Index& grid, unsigned threads, const std::function<void()>& kernel) {
  static std::mutex one_grid;
  const std::lock_guard lock(one_grid);
  if (threads == 0 || threads % kWarp != 0) {
    throw Error("cuda emulation: threads: expected a multiple of 32, got " +
                std::to_string(threads));
  }
  reported.clear();
  find_shared_memory();
  run_blocks(grid, threads, kernel);
  if (!reported.empty()) throw Error(reported);
}

bool meet_block(bool value, const Site& site) { return machine->meet_block(value, site); }

const Message* meet_warp(const void* message, size_t size, const Site& site) {
  return machine->meet_warp(message, size, site);
}

Copies& copies_of_thread() { return machine->copies(); }

void report(const std::string& what) {
  if (reported.empty()) reported = what;
}

}  // namespace qat::emulation
