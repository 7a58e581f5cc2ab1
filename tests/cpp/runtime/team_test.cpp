// Teams: every piece once, whoever comes late, sleeps or throws.

#include "runtime/team.h"

#include <gtest/gtest.h>

#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "runtime/parallel.h"

namespace qat::runtime::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Until `ready`, or for ten seconds, after which a thread that should come never will.
template <typename Ready>
bool happens(const Ready& ready) {
  const auto end = steady_clock::now() + milliseconds(10000);
  while (!ready()) {
    if (steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

// Jobs of all sizes in a row, each counted; returns how many pieces ran not once, or on a member
// that was running another one.
int wrong_pieces(Team& team, int members) {
  std::atomic<int> wrong{0};
  team.run(members, [&] {
    std::vector<std::atomic<int>> busy(static_cast<size_t>(members));
    for (const int64_t pieces : {1, 2, 3, 7, 16, 1000, 70000}) {
      std::vector<int> runs(static_cast<size_t>(pieces), 0);
      parallel_tasks(members, pieces, [&](int64_t piece, int member) {
        wrong += busy[static_cast<size_t>(member)].exchange(1);
        ++runs[static_cast<size_t>(piece)];
        busy[static_cast<size_t>(member)] = 0;
      });
      for (const int n : runs) wrong += n != 1;
    }
  });
  return wrong;
}

TEST(Team, RunsEveryPieceOnce) {
  for (const int members : {1, 2, 3, 4, 8}) {
    Team team(members);
    for (int run = 0; run < 20; ++run) {
      ASSERT_EQ(wrong_pieces(team, members), 0) << members << " members, run " << run;
    }
  }
}

TEST(Team, MayBeSmallerThanItsCapacity) {
  Team team(4);
  for (const int members : {4, 2, 1, 3, 4}) EXPECT_EQ(wrong_pieces(team, members), 0) << members;
}

TEST(Team, SleepingHelpersAreWoken) {
  Team team(2);
  team.run(2, [&] {
    for (int i = 0; i < 20; ++i) {
      std::this_thread::sleep_for(milliseconds(i % 3));  // longer than helpers spin, or not at all
      std::atomic<int> begun{0};
      // Each piece needs the other one to have begun: the lead cannot run both.
      parallel_tasks(2, 2, [&](int64_t, int) {
        ++begun;
        EXPECT_TRUE(happens([&] { return begun == 2; }));
      });
    }
  });
}

TEST(Team, TheLeadWaitsForAPieceThatTakesLong) {
  Team team(2);
  std::atomic<int> finished{0};
  team.run(2, [&] {
    std::atomic<int> begun{0};
    parallel_tasks(2, 2, [&](int64_t, int member) {
      ++begun;
      happens([&] { return begun == 2; });
      if (member == 1) std::this_thread::sleep_for(milliseconds(20));  // the lead sleeps, too
      ++finished;
    });
    EXPECT_EQ(finished, 2);
  });
}

TEST(Team, ResultsOfPiecesAreSeenByTheNextJob) {
  Team team(3);
  std::vector<int64_t> values(3000, 0);
  const auto n = static_cast<int64_t>(values.size());
  team.run(3, [&] {
    for (int job = 0; job < 300; ++job) {
      parallel_for(3, n, 1, [&](int64_t begin, int64_t end) {
        // Reads what another member wrote in the job before.
        for (int64_t i = begin; i < end; ++i) values[static_cast<size_t>(n - 1 - i)] += job;
      });
      parallel_for(3, n, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) ++values[static_cast<size_t>(i)];
      });
    }
  });
  EXPECT_EQ(values, std::vector<int64_t>(3000, 300 * 299 / 2 + 300));
}

TEST(Team, WhatTheWalkThrowsReachesTheCaller) {
  Team team(3);
  for (const int members : {1, 3}) {
    EXPECT_THROW(team.run(members,
                          [&] {
                            parallel_tasks(members, 5, [](int64_t, int) {});
                            throw std::runtime_error("node");
                          }),
                 std::runtime_error);
    EXPECT_EQ(wrong_pieces(team, members), 0);  // works as before
    EXPECT_EQ(thread_role().leads, nullptr);
  }
}

TEST(Team, ALoopWithinAPieceRunsOnItsThread) {
  Team team(2);
  std::atomic<int> wrong{0};
  team.run(2, [&] {
    parallel_tasks(2, 4, [&](int64_t, int outer) {
      const auto here = std::this_thread::get_id();
      parallel_tasks(2, 8, [&](int64_t, int member) {
        wrong += member != outer || std::this_thread::get_id() != here;
      });
    });
  });
  EXPECT_EQ(wrong, 0);
}

TEST(Team, ALoopOutsideOfATeamHasThreadsOfItsOwn) {
  std::atomic<int> begun{0};
  parallel_tasks(2, 2, [&](int64_t, int) {
    ++begun;
    EXPECT_TRUE(happens([&] { return begun == 2; }));
  });
}

TEST(Team, MoreMembersThanProcessorsDoNotBurn) {
  const int members = 4 * omp_get_num_procs();
  Team team(members);
  const auto start = steady_clock::now();
  for (int run = 0; run < 20; ++run) {
    team.run(members, [&] {
      for (int job = 0; job < 50; ++job) parallel_tasks(members, members, [](int64_t, int) {});
    });
  }
  // A thousand jobs that each waited for a time slice of 4 ms would take longer.
  EXPECT_LT(steady_clock::now() - start, milliseconds(4000));
}

TEST(Team, TeamsOfSeveralCallersRunAtOnce) {
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> callers;
  for (int& own : wrong) {
    callers.emplace_back([&own] {
      Team team(3);
      for (int run = 0; run < 5; ++run) own += wrong_pieces(team, 3);
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

}  // namespace
}  // namespace qat::runtime::testing
