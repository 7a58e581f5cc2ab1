#pragma once
// Runs the threads of a CUDA grid one at a time on the calling thread.
//
// Note [Schedule]
// Blocks follow one another. A thread of a block is a fiber; it runs until it waits for its warp or
// its block, or ends. A warp runs until nothing but a barrier of the block can move it on, and then
// the next one runs. So at each barrier the warps are as far apart as they can get, and an order
// that is reversed shows the last thread's memory to the first one and the other way round: a
// barrier that is missing gives other bits under at least one Order.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <string>
#include <vector>

namespace qat::emulation {

constexpr unsigned kWarp = 32;

struct Index {
  unsigned x = 0, y = 0, z = 0;
};

// Of the thread that runs.
inline Index threadIdx, blockIdx, blockDim, gridDim;

// In which blocks, the warps of a block and the lanes of a warp take turns.
enum class Order : int64_t { forward, reverse, from_both_ends };
inline Order order = Order::forward;

using Site = std::source_location;

// `threads` of each block, a multiple of kWarp. Throws qat::Error where the kernel does what a
// device forbids or leaves undefined.
void run_grid(const Index& grid, unsigned threads, const std::function<void()>& kernel);

// For the thread that runs. All of the block must come to the same place; whether any value is
// true.
bool meet_block(bool value, const Site& site);

// The largest value that the lanes of a warp exchange.
constexpr size_t kMessage = 64;
struct alignas(16) Message {
  std::byte bytes[kMessage];
};

// For the thread that runs. All of the warp must come to the same place; the messages of its lanes,
// valid until the next but one meeting.
const Message* meet_warp(const void* message, size_t size, const Site& site);

// Copies of the thread that runs which have not arrived.
struct Copy {
  void* to;
  const void* from;
  size_t bytes;
};
struct Copies {
  std::vector<Copy> open;
  std::vector<std::vector<Copy>> groups;  // the oldest one first
};
Copies& copies_of_thread();

// Notes what is wrong; run_grid() throws the first note when the grid has ended.
void report(const std::string& what);

}  // namespace qat::emulation
