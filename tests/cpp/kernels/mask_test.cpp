// Rule 4 as bits, by every instruction set's copy and by the scalar expression.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kernels/cpu/tables.h"
#include "numerics/quantize.h"

namespace qat::kernels::testing {
namespace {

// No register divides it.
constexpr int64_t kWidth = 70;
constexpr float kLowest = -8.0f, kHighest = 7.0f;

struct Inputs {
  std::vector<float> scale, inverse_scale, x, grad;
  std::vector<int32_t> zero_point;

  explicit Inputs(int64_t n) {
    std::mt19937 random(static_cast<unsigned>(n));
    std::uniform_real_distribution<float> step(0.5f, 1.5f), code(-14.0f, 14.0f);
    for (int64_t j = 0; j < kWidth; ++j) {
      scale.push_back(j == 0 ? 1.0f : step(random));
      inverse_scale.push_back(numerics::inverse_scale(scale.back()));
      zero_point.push_back(static_cast<int32_t>(j % 16) - (j == 0 ? 0 : 8));
    }
    for (int64_t i = 0; i < n; ++i) {
      // Half of them at the middles between two codes, where rounding decides.
      x.push_back(i % 2 == 0 ? code(random) : std::floor(code(random)) + 0.5f);
      grad.push_back(code(random));
    }
    if (n < 40) return;
    // The last number on either side that passes, and the first that does not.
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const float ends[] = {-8.5f,        std::nextafter(-8.5f, -9.0f),
                          7.5f,         std::nextafter(7.5f, 0.0f),
                          kInfinity,    -kInfinity,
                          std::nanf("")};
    std::copy(std::begin(ends), std::end(ends), x.begin() + 3);
    std::copy(std::begin(ends), std::end(ends), x.end() - 7);
  }

  Quantizer quantizer(int64_t width) const {
    return {scale.data(), inverse_scale.data(), zero_point.data(), kLowest, kHighest, width};
  }
  bool passes(int64_t i, int64_t width) const {
    const auto j = static_cast<size_t>(i % width);
    const float code = numerics::unclamped_code(x[static_cast<size_t>(i)], inverse_scale[j],
                                                static_cast<float>(zero_point[j]));
    return numerics::straight_through(code, kLowest, kHighest);
  }
};

bool bit(const std::vector<uint8_t>& mask, int64_t k) {
  return (mask[static_cast<size_t>(k / 8)] >> (k % 8) & 1) != 0;
}

// Bits first..first+n are rule 4's, those below stay what they were, those above are clear.
void expect_mask(const Inputs& in, int64_t n, int64_t width, int64_t first, uint8_t before,
                 const std::vector<uint8_t>& mask) {
  for (int64_t k = 0; k < static_cast<int64_t>(mask.size()) * 8; ++k) {
    const bool below = (before >> (k % 8) & 1) != 0;
    const bool expected = k < first ? below : k < first + n && in.passes(k - first, width);
    ASSERT_EQ(bit(mask, k), expected) << "bit " << k << " of " << n << " from " << first;
  }
}

void check(const KernelTable& table, int64_t n, int64_t width, int64_t first) {
  const Inputs in(n);
  const Quantizer q = in.quantizer(width);
  constexpr uint8_t kBefore = 0xb5;
  const auto count = static_cast<size_t>(n);
  std::vector<uint8_t> mask(static_cast<size_t>((first + n + 7) / 8), kBefore), same = mask;
  std::vector<float> out(count), plain(count);
  table.fake_quantize_with_mask(q, in.x.data(), out.data(), n, {mask.data(), first});
  table.fake_quantize(q, in.x.data(), plain.data(), n);
  EXPECT_EQ(out, plain);
  expect_mask(in, n, width, first, kBefore, mask);

  std::vector<uint8_t> codes(count), plain_codes(count);
  const RangeKeys found =
      table.quantize_with_mask(q, in.x.data(), codes.data(), n, {same.data(), first});
  table.quantize(q, in.x.data(), plain_codes.data(), n);
  EXPECT_EQ(codes, plain_codes);
  EXPECT_EQ(same, mask);
  RangeKeys range;
  table.range(in.x.data(), n, &range);
  EXPECT_EQ(found.minimum, range.minimum);
  EXPECT_EQ(found.maximum, range.maximum);

  if (first != 0) return;
  table.straight_through(in.grad.data(), mask.data(), out.data(), n, false);
  table.fake_quantize_backward(q, in.grad.data(), in.x.data(), plain.data(), n);
  EXPECT_EQ(out, plain);
}

TEST(Mask, EveryInstructionSetWritesRuleFour) {
  for (const KernelTable* table : available_tables()) {
    for (const int64_t n : {0, 1, 7, 15, 16, 17, 40, 63, 64, 65, 1000}) {
      for (const int64_t width : {int64_t{1}, kWidth}) {
        for (int64_t first = 0; first < 8; ++first) {
          SCOPED_TRACE(std::string(table->name) + ", width " + std::to_string(width));
          check(*table, n, width, first);
        }
      }
    }
  }
}

TEST(Mask, StreamedResultsAreTheSame) {
  constexpr int64_t kCount = 1000;
  const Inputs in(kCount);
  alignas(64) float plain[kCount], streamed[kCount];
  std::vector<uint8_t> mask(kCount / 8), again = mask;
  Quantizer q = in.quantizer(1);
  for (const KernelTable* table : available_tables()) {
    q.streams = false;
    table->fake_quantize_with_mask(q, in.x.data(), plain, kCount, {mask.data(), 0});
    q.streams = true;
    table->fake_quantize_with_mask(q, in.x.data(), streamed, kCount, {again.data(), 0});
    EXPECT_EQ(std::vector(streamed, streamed + kCount), std::vector(plain, plain + kCount));
    EXPECT_EQ(again, mask);
    table->straight_through(in.grad.data(), mask.data(), plain, kCount, false);
    table->straight_through(in.grad.data(), mask.data(), streamed, kCount, true);
    EXPECT_EQ(std::vector(streamed, streamed + kCount), std::vector(plain, plain + kCount));
  }
}

}  // namespace
}  // namespace qat::kernels::testing
