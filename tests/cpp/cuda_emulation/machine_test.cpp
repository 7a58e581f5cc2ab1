// What a kernel may not do is found out, and what it may do gives what a device gives.

#include "machine.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "error.h"
#include "language.h"

namespace qat::emulation {
namespace {

constexpr unsigned kThreads = 128;

class EveryOrder : public testing::TestWithParam<Order> {
 protected:
  void SetUp() override { order = GetParam(); }
  void TearDown() override { order = Order::forward; }
};

std::string error_of(const std::function<void()>& kernel) {
  try {
    run_grid({1, 1, 1}, kThreads, kernel);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_P(EveryOrder, RunsEveryThreadOfEveryBlockOnce) {
  std::vector<int> runs(3 * 2 * kThreads);
  run_grid({3, 2, 1}, kThreads, [&] {
    EXPECT_EQ(gridDim.x * blockDim.x, 3 * kThreads);
    ++runs[(blockIdx.y * gridDim.x + blockIdx.x) * blockDim.x + threadIdx.x];
  });
  EXPECT_EQ(runs, std::vector<int>(runs.size(), 1));
}

// Each thread reads what the thread on the other end of its block wrote.
void reverse_block(std::vector<unsigned>& out, bool waits) {
  __shared__ unsigned values[kThreads];
  values[threadIdx.x] = blockIdx.x * kThreads + threadIdx.x;
  if (waits) __syncthreads();
  out[blockIdx.x * kThreads + threadIdx.x] = values[kThreads - 1 - threadIdx.x];
}

TEST_P(EveryOrder, BarrierMakesAllWritesVisible) {
  std::vector<unsigned> out(2 * kThreads);
  run_grid({2, 1, 1}, kThreads, [&] { reverse_block(out, true); });
  for (unsigned i = 0; i < 2 * kThreads; ++i) {
    EXPECT_EQ(out[i], i / kThreads * kThreads + kThreads - 1 - i % kThreads);
  }
}

TEST_P(EveryOrder, MissingBarrierShows) {
  std::vector<unsigned> with(kThreads), without(kThreads);
  run_grid({1, 1, 1}, kThreads, [&] { reverse_block(with, true); });
  run_grid({1, 1, 1}, kThreads, [&] { reverse_block(without, false); });
  EXPECT_NE(with, without);
}

TEST_P(EveryOrder, BlockBeginsWithOtherSharedMemory) {
  std::vector<unsigned> seen;
  run_grid({2, 1, 1}, kThreads, [&] {
    __shared__ unsigned value;
    if (threadIdx.x == 0) {
      seen.push_back(value);
      value = 7;
    }
  });
  const unsigned fill = GetParam() == Order::reverse ? 0x5a5a5a5au : 0xa5a5a5a5u;
  EXPECT_EQ(seen, (std::vector<unsigned>{fill, fill}));
}

TEST_P(EveryOrder, AnyOfTheBlock) {
  unsigned found = 0;
  run_grid({1, 1, 1}, kThreads, [&] {
    const int none = __syncthreads_or(0);
    const int some = __syncthreads_or(threadIdx.x == 77);
    found += none == 0 && some != 0;
  });
  EXPECT_EQ(found, kThreads);
}

TEST_P(EveryOrder, ShuffleReadsHigherLanes) {
  std::vector<unsigned> out(kThreads), again(kThreads);
  run_grid({1, 1, 1}, kThreads, [&] {
    const unsigned thread = threadIdx.x;
    out[thread] = __shfl_down_sync(0xffffffffu, thread, 16);
    again[thread] = __shfl_down_sync(0xffffffffu, out[thread], 1);
  });
  for (unsigned i = 0; i < kThreads; ++i) {
    EXPECT_EQ(out[i], i % 32 < 16 ? i + 16 : i);
    EXPECT_EQ(again[i], i % 32 < 31 ? out[i + 1] : out[i]);
  }
}

TEST_P(EveryOrder, ThreadThatEndsBeforeTheBarrierIsFound) {
  const auto error = error_of([] {
    if (threadIdx.x < 100) __syncthreads();
  });
  EXPECT_TRUE(holds(error, "28 have ended")) << error;
  EXPECT_EQ(error_of([] { __syncthreads(); }), "");
}

TEST_P(EveryOrder, TwoBarriersAreFound) {
  const auto error = error_of([] {
    if (threadIdx.x < 64) {
      __syncthreads();
    } else {
      __syncthreads();
    }
  });
  EXPECT_TRUE(holds(error, "some are at")) << error;
}

TEST_P(EveryOrder, ShuffleWithoutSomeLanesIsFound) {
  const auto error = error_of([] {
    if (threadIdx.x != 70) __shfl_down_sync(0xffffffffu, 1, 1);
  });
  EXPECT_TRUE(holds(error, "lane 6 went elsewhere")) << error;
}

INSTANTIATE_TEST_SUITE_P(All, EveryOrder,
                         testing::Values(Order::forward, Order::reverse, Order::from_both_ends));

}  // namespace
}  // namespace qat::emulation
