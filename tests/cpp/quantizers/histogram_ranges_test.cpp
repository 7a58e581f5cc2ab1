// The searches against the slow code of histogram_reference.h.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "quantizers/histogram_reference.h"

namespace qat::numerics {
namespace {

using reference::candidate;
using reference::code_ranges;
using reference::Codes;
using reference::Data;
using reference::kSamples;
using reference::sample;
using reference::shares;
using reference::slow_divergence;
using reference::slow_squared_error;

TEST(Percentile, LiesInTheBinOfTheOrderStatistic) {
  for (const std::string& kind : kSamples) {
    const Data data(sample(kind));
    std::vector<double> up, down;
    for (const float v : data.values) {
      if (v > 0) up.push_back(v);
      if (v < 0) down.push_back(-v);
    }
    const double width = std::ldexp(1.0, data.histogram.exponent);
    for (const double percent : {50.5, 90.0, 99.0, 99.99}) {
      const auto range = percentile_range(data.histogram, percent);
      // The k-th smallest value, k = ceil(percent of n), and the result lie in the same bin.
      const auto statistic = [&](std::vector<double>& side) {
        if (side.empty()) return 0.0;
        std::sort(side.begin(), side.end());
        const double wanted = static_cast<double>(side.size()) * percent / 100.0;
        return side[static_cast<size_t>(std::ceil(wanted)) - 1];
      };
      EXPECT_NEAR(range.hi, statistic(up), width) << kind << percent;
      EXPECT_NEAR(-range.lo, statistic(down), width) << kind << percent;
    }
    const auto all = percentile_range(data.histogram, 100.0);
    EXPECT_EQ(all.lo, std::min(data.histogram.lo, 0.0f));
    EXPECT_EQ(all.hi, data.histogram.hi);
  }
}

TEST(Percentile, SpreadsABinEvenly) {
  // 4 values in bin 512 (2 <= x < 2 + 2^-8), where 3.99 lies in bin 1021.
  const Data data({2.0f, 2.001f, 2.002f, 2.003f, 3.99f});
  ASSERT_EQ(data.histogram.exponent, -8);
  EXPECT_EQ(percentile_range(data.histogram, 40.0).hi, 2.0f + 0x1p-8f * 2 / 4);
  EXPECT_EQ(percentile_range(data.histogram, 80.0).hi, 2.0f + 0x1p-8f);
}

// Sums of at most 2048 terms of one sign, each from a difference of numbers up to 2^10 times as
// large: 2^11 · 2^10 · 2^-53 = 5e-10.
constexpr double kRounding = 1e-9;

TEST(SquaredError, EqualsTheIntegralCutAtEveryBoundary) {
  for (const std::string& kind : kSamples) {
    const Data data(sample(kind));
    for (const CodeRange& codes : code_ranges()) {
      for (const double share : {1.0, 0.6, 0.11}) {
        const Interval range = candidate(data.histogram, codes, share);
        const double slow = slow_squared_error(data.histogram, Codes(range, codes));
        const double fast = squared_error(data.histogram, CodeGrid(range, codes));
        EXPECT_NEAR(fast / slow, 1.0, kRounding) << kind << codes.format.bits << share;
      }
    }
  }
}

TEST(SquaredError, IsNearTheErrorOfTheValuesThemselves) {
  const Data data(sample("normal"));
  const CodeRange codes{{4, false, false}, Symmetry::affine, false};
  const Interval range = {-2.5f, 2.5f};
  double sum = 0.0;
  for (const float v : data.values) sum += std::pow(Codes(range, codes).error(v), 2);
  // A value moves by at most a bin (2^-8 here), which changes an error e <= scale/2 inside the
  // range by at most 2·e·w: 2 · 0.083 · 0.004 against a mean of scale^2/12 = 0.0023 and more. The
  // changes of 20000 values have either sign, so that their mean is far below their bound.
  EXPECT_NEAR(squared_error(data.histogram, CodeGrid(range, codes)) / sum, 1.0, 0.01);
}

TEST(Mse, IsNoWorseThanAnyCandidateOfTheGrid) {
  for (const std::string& kind : kSamples) {
    const Data data(sample(kind));
    for (const CodeRange& codes : code_ranges()) {
      const Interval found = mse_range(data.histogram, codes);
      const double cost = slow_squared_error(data.histogram, Codes(found, codes));
      for (const double share : shares()) {
        const Interval other = candidate(data.histogram, codes, share);
        EXPECT_LE(cost, slow_squared_error(data.histogram, Codes(other, codes)) * (1 + kRounding))
            << kind << codes.format.bits << " share " << share;
      }
    }
  }
}

TEST(Mse, LooksBetweenTheCandidatesOfTheGrid) {
  const Data data(sample("normal"));
  const CodeRange codes{{4, true, false}, Symmetry::symmetric, false};
  const Interval found = mse_range(data.histogram, codes);
  const double cost = slow_squared_error(data.histogram, Codes(found, codes));
  for (const double share : shares()) {
    const Interval other = candidate(data.histogram, codes, share);
    EXPECT_LT(cost, slow_squared_error(data.histogram, Codes(other, codes)));
  }
}

TEST(Mse, TakesTheWidestOfEqualRanges) {
  std::vector<float> values;
  for (int i = -900; i <= 900; ++i) values.push_back(static_cast<float>(i) / 1000.0f);
  const Data data(values);
  // All magnitudes from 127/2 · 2^-7 on have the scale 2^-7.
  const Interval found = mse_range(data.histogram, {{8, true, false}, Symmetry::symmetric, true});
  EXPECT_EQ(found.hi, 0.9f);
  EXPECT_EQ(found.lo, -0.9f);
}

TEST(Mse, FindsTheKnownOptimumOfTheNormalDistribution) {
  // Steps of the uniform quantizers for a normal distribution with an odd number of levels, one of
  // them 0: Max, "Quantizing for Minimum Distortion" (1960), table II.
  const Data data(sample("normal"));
  const auto step = [&](int bits) {
    const CodeRange codes{{bits, true, true}, Symmetry::symmetric, false};
    return CodeGrid(mse_range(data.histogram, codes), codes).scale;
  };
  // The candidates lie 1/256 to 1/128 of their range apart, and 20000 values tell the spread of the
  // distribution to 1/sqrt(2 · 20000): 1.3 % together, of at most 0.65.
  EXPECT_NEAR(step(3), 0.6508, 0.0085);  // 7 levels
  EXPECT_NEAR(step(4), 0.3534, 0.0046);  // 15 levels
}

TEST(Mse, NarrowsEachEndOnItsOwn) {
  std::vector<float> values = sample("normal");
  values.push_back(40.0f);  // one outlier, above
  const Data data(values);
  const Interval found = mse_range(data.histogram, {{4, false, false}, Symmetry::affine, false});
  EXPECT_LT(found.hi, 20.0f);
  EXPECT_LT(found.lo, -1.5f);
}

TEST(Divergence, EqualsTheDistributionsWrittenOut) {
  for (const std::string& kind : kSamples) {
    const Data data(sample(kind));
    for (const CodeRange& codes : code_ranges()) {
      const Divergence divergence(data.histogram, codes);
      for (const double share : shares()) {
        const Interval range = candidate(data.histogram, codes, share);
        const double slow = slow_divergence(data.histogram, Codes(range, codes), range);
        const double fast = divergence(range);
        if (std::isinf(slow)) {
          EXPECT_EQ(fast, slow) << kind << codes.format.bits << share;
        } else {
          EXPECT_NEAR(fast, slow, kRounding) << kind << codes.format.bits << share;
        }
      }
    }
  }
}

TEST(Kl, IsNoWorseThanAnyCandidateOfTheGrid) {
  for (const std::string& kind : kSamples) {
    const Data data(sample(kind));
    for (const CodeRange& codes : code_ranges()) {
      const Interval found = kl_range(data.histogram, codes);
      const double cost = slow_divergence(data.histogram, Codes(found, codes), found);
      EXPECT_TRUE(std::isfinite(cost));
      for (const double share : shares()) {
        const Interval other = candidate(data.histogram, codes, share);
        EXPECT_LE(cost, slow_divergence(data.histogram, Codes(other, codes), other) + kRounding)
            << kind << codes.format.bits << " share " << share;
      }
    }
  }
}

TEST(Kl, ClipsTheTailOfAHeavyDistribution) {
  const Data data(sample("heavy"));
  const Interval found = kl_range(data.histogram, {{4, true, false}, Symmetry::symmetric, false});
  EXPECT_LT(found.hi, 0.5f * data.histogram.hi);
  EXPECT_GT(found.hi, 2.0f);
}

TEST(Search, AValueOnTheEdgeOfABinIsInside) {
  const Data data({3.25f, 3.25f});
  for (const CodeRange& codes : code_ranges()) {
    EXPECT_EQ(kl_range(data.histogram, codes).hi, 3.25f);
    EXPECT_EQ(Divergence(data.histogram, codes)({0.0f, 3.25f}), 0.0);
    EXPECT_EQ(percentile_range(data.histogram, 99.9).hi, 3.25f);
  }
}

TEST(Search, MirroredValuesGiveTheMirroredRange) {
  std::vector<float> values = sample("shifted");
  const Data data(values);
  for (float& v : values) v = -v;
  const Data mirrored(values);
  for (int bin = 0; bin < kHistogramBins; ++bin) {
    ASSERT_EQ(data.counts[static_cast<size_t>(bin)],
              mirrored.counts[static_cast<size_t>(kHistogramBins - 1 - bin)]);
  }
  const auto a = percentile_range(data.histogram, 99.0);
  const auto b = percentile_range(mirrored.histogram, 99.0);
  EXPECT_EQ(a.lo, -b.hi);
  EXPECT_EQ(a.hi, -b.lo);
}

TEST(WidenBins, EqualsCountingWithWiderBins) {
  const Data data(sample("normal"));
  for (const int doublings : {0, 1, 2, 5, 11, 40, 168}) {
    std::vector<int64_t> wide = data.counts, direct(kHistogramSlots);
    widen_bins(wide.data(), doublings);
    const int exponent = data.histogram.exponent + doublings;
    if (exponent > kHighestExponent) {  // everything beside the middle
      EXPECT_EQ(wide[1023] + wide[1024], static_cast<int64_t>(data.values.size()));
      continue;
    }
    for (const float v : data.values) {
      ++direct[static_cast<size_t>(histogram_slot(v, inverse_bin_width(exponent)))];
    }
    EXPECT_EQ(wide, direct) << doublings;
  }
}

}  // namespace
}  // namespace qat::numerics
