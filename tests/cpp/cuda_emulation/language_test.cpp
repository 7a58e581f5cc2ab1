// Intrinsics, and accesses that a device does not forgive.

#include "language.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "error.h"

namespace qat::emulation {
namespace {

std::string error_of(const std::function<void()>& kernel) {
  try {
    run_grid({1, 1, 1}, kWarp, kernel);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

int word(int a, int b, int c, int d) {
  const int8_t bytes[4] = {static_cast<int8_t>(a), static_cast<int8_t>(b), static_cast<int8_t>(c),
                           static_cast<int8_t>(d)};
  int result;
  std::memcpy(&result, bytes, 4);
  return result;
}

TEST(Language, DotProductOfSignedBytes) {
  EXPECT_EQ(__dp4a(word(1, -2, 3, -128), word(10, 20, -128, -128), 5), 5 + 10 - 40 - 384 + 16384);
  EXPECT_EQ(error_of([] { __dp4a(word(1, 0, 0, 0), word(1, 0, 0, 0), 0x7ffffffe); }), "");
  EXPECT_TRUE(holds(error_of([] { __dp4a(word(1, 0, 0, 0), word(2, 0, 0, 0), 0x7ffffffe); }),
                    "leaves int32"));
}

struct alignas(16) Pack {
  float v[4];
};

TEST(Language, MisalignedAccessIsFound) {
  alignas(16) float memory[8] = {};
  const auto copy_from = [&](int offset) {
    return error_of([&] {
      Pack pack = *reinterpret_cast<const Pack*>(memory + offset);
      *reinterpret_cast<Pack*>(memory + offset) = pack;
    });
  };
  EXPECT_EQ(copy_from(4), "");
  EXPECT_TRUE(holds(copy_from(1), "a multiple of 16, got one of 4 bytes")) << copy_from(1);
}

TEST(Language, IndexBeyondAnArrayIsFound) {
  volatile unsigned last = 8;
  int values[9] = {};
  const auto error = error_of([&] {
    auto& first = reinterpret_cast<int(&)[8]>(values);
    first[last] = 1;
  });
  EXPECT_TRUE(holds(error, "the index 8 leaves the array")) << error;
}

TEST(Language, SumBeyondItsTypeIsFound) {
  volatile int large = 0x7fffffff;
  EXPECT_TRUE(holds(error_of([&] { large = large + 1; }), "the sum leaves its integer type"));
  volatile int factor = 0x10000;
  EXPECT_TRUE(holds(error_of([&] { factor = factor * factor; }), "the product leaves"));
}

TEST(Language, AtomicAddGivesTheValueBefore) {
  unsigned sum = 3;
  EXPECT_EQ(atomicAdd(&sum, 4u), 3u);
  EXPECT_EQ(sum, 7u);
}

}  // namespace
}  // namespace qat::emulation
