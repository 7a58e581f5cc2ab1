// Products on tensor cores against plain loops.

#include "matrices.h"

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <random>
#include <vector>

#include "error.h"
#include "language.h"

namespace qat::emulation {
namespace {

constexpr int kRows = 16, kColumns = 8, kDepth = 32;

// Registers of all lanes: four of the left matrix, two of the right one.
struct Registers {
  std::array<uint32_t, 4> left[kWarp];
  std::array<uint32_t, 2> right[kWarp];
};

uint32_t word(const std::function<int(int)>& byte) {
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i) result |= uint32_t{static_cast<uint8_t>(byte(i))} << (8 * i);
  return result;
}

// Lane 4g + t has the rows g and g + 8, and the column g, each at 4t and 16 + 4t.
Registers registers_of(const int (&left)[kRows][kDepth], const int (&right)[kDepth][kColumns]) {
  Registers registers;
  for (int g = 0; g < 8; ++g) {
    for (int t = 0; t < 4; ++t) {
      const int lane = 4 * g + t;
      for (int half = 0; half < 2; ++half) {
        const int depth = 4 * t + 16 * half;
        registers.left[lane][2 * half] = word([&](int i) { return left[g][depth + i]; });
        registers.left[lane][2 * half + 1] = word([&](int i) { return left[g + 8][depth + i]; });
        registers.right[lane][half] = word([&](int i) { return right[depth + i][g]; });
      }
    }
  }
  return registers;
}

class Multiply : public testing::TestWithParam<bool> {};

TEST_P(Multiply, AddsTheProducts) {
  const bool is_signed = GetParam();
  std::mt19937 random(1);
  std::uniform_int_distribution<int> code(is_signed ? -128 : 0, is_signed ? 127 : 255);
  std::uniform_int_distribution<int> weight(-128, 127);
  int left[kRows][kDepth], right[kDepth][kColumns];
  for (auto& row : left) {
    for (int& value : row) value = code(random);
  }
  for (auto& row : right) {
    for (int& value : row) value = weight(random);
  }
  const Registers registers = registers_of(left, right);
  int found[kRows][kColumns] = {};
  run_grid({1, 1, 1}, kWarp, [&] {
    const unsigned lane = threadIdx.x;
    uint32_t a[4], b[2];
    std::copy(registers.left[lane].begin(), registers.left[lane].end(), a);
    std::copy(registers.right[lane].begin(), registers.right[lane].end(), b);
    int32_t sums[4] = {7, 7, 7, 7};
    multiply_16x8x32(sums, a, b, is_signed, Site::current());
    for (int i = 0; i < 4; ++i) found[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2] = sums[i];
  });
  for (int row = 0; row < kRows; ++row) {
    for (int column = 0; column < kColumns; ++column) {
      int expected = 7;
      for (int k = 0; k < kDepth; ++k) expected += left[row][k] * right[k][column];
      EXPECT_EQ(found[row][column], expected) << row << " " << column;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Codes, Multiply, testing::Bool());

TEST(Matrices, SumBeyondInt32IsFound) {
  EXPECT_THROW(run_grid({1, 1, 1}, kWarp,
                        [] {
                          int32_t sums[4] = {0x7fffffff, 0, 0, 0};
                          multiply_16x8x32(sums, {1, 0, 0, 0}, {1, 0}, true, Site::current());
                        }),
               Error);
}

TEST(Matrices, LoadGivesEachLaneAWordOfItsRow) {
  run_grid({1, 1, 1}, kWarp, [] {
    alignas(16) __shared__ uint32_t memory[4 * 8 * 4];  // matrices, rows, words
    const unsigned lane = threadIdx.x;
    for (unsigned i = 4 * lane; i < 4 * lane + 4; ++i) memory[i] = 1000 + i;
    __syncthreads();
    uint32_t words[4];
    load_matrices(words, &memory[4 * lane], Site::current());
    for (unsigned matrix = 0; matrix < 4; ++matrix) {
      EXPECT_EQ(words[matrix], 1000 + 32 * matrix + lane);
    }
  });
}

TEST(Matrices, AddressesAreChecked) {
  const auto load_from = [](unsigned offset) {
    run_grid({1, 1, 1}, kWarp, [=] {
      alignas(16) __shared__ uint32_t memory[8];
      uint32_t words[4];
      load_matrices(words, &memory[offset], Site::current());
    });
  };
  EXPECT_NO_THROW(load_from(4));
  EXPECT_THROW(load_from(3), Error);
}

}  // namespace
}  // namespace qat::emulation
