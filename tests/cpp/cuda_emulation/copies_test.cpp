// Copies that arrive when nobody expects them.

#include "copies.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "error.h"
#include "language.h"

namespace qat::emulation {
namespace {

class CopiesInEveryOrder : public testing::TestWithParam<Order> {
 protected:
  void SetUp() override { order = GetParam(); }
  void TearDown() override { order = Order::forward; }
};

alignas(16) const int global[2 * kWarp] = {1, 2, 3, 4, 5, 6, 7, 8};

TEST_P(CopiesInEveryOrder, CopyHasArrivedAfterTheWait) {
  run_grid({1, 1, 1}, kWarp, [] {
    __shared__ int tile[2 * kWarp];
    for (unsigned half = 0; half < 2; ++half) {
      const unsigned i = half * kWarp + threadIdx.x;
      copy_to_shared(&tile[i], &global[i], 4);
      end_group_of_copies();
    }
    wait_for_copies(1);
    EXPECT_EQ(tile[threadIdx.x], global[threadIdx.x]);
    wait_for_copies(0);
    EXPECT_EQ(tile[kWarp + threadIdx.x], global[kWarp + threadIdx.x]);
  });
}

TEST(Copies, CopyArrivesNoSoonerThanTheWait) {
  run_grid({1, 1, 1}, kWarp, [] {
    __shared__ int tile[kWarp];
    tile[threadIdx.x] = -1;
    copy_to_shared(&tile[threadIdx.x], &global[threadIdx.x], 4);
    end_group_of_copies();
    wait_for_copies(1);
    EXPECT_EQ(tile[threadIdx.x], -1);
  });
}

std::string error_of(void* to, const void* from) {
  try {
    run_grid({1, 1, 1}, kWarp, [&] { copy_to_shared(to, from, 16); });
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Copies, AddressesAreChecked) {
  alignas(16) __shared__ int tile[8];
  order = Order::reverse;
  EXPECT_EQ(error_of(tile, global), "");
  EXPECT_NE(error_of(tile, global + 1).find("multiples of 16"), std::string::npos);
  EXPECT_NE(error_of(tile + 1, global).find("multiples of 16"), std::string::npos);
  alignas(16) int local[4];
  EXPECT_NE(error_of(local, global).find("expected a __shared__ variable"), std::string::npos);
  order = Order::forward;
}

INSTANTIATE_TEST_SUITE_P(All, CopiesInEveryOrder,
                         testing::Values(Order::forward, Order::reverse, Order::from_both_ends));

}  // namespace
}  // namespace qat::emulation
