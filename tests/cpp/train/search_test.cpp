#include "train/search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "error.h"

namespace qat::train {
namespace {

using Layers = std::vector<std::vector<Choice>>;

struct Sum {
  int64_t cost = 0;
  double loss = 0;
};

Sum sum_of(const Layers& layers, const std::vector<size_t>& chosen) {
  Sum sum;
  for (size_t i = 0; i < layers.size(); ++i) {
    sum.cost += layers[i].at(chosen.at(i)).cost;
    sum.loss += layers[i].at(chosen.at(i)).loss;
  }
  return sum;
}

// Every combination; of equal losses the cheapest.
Sum brute_force(const Layers& layers, int64_t budget) {
  std::vector<size_t> tried(layers.size(), 0);
  Sum best{-1, 0};
  for (;;) {
    const Sum sum = sum_of(layers, tried);
    const bool better =
        best.cost < 0 || sum.loss < best.loss || (sum.loss == best.loss && sum.cost < best.cost);
    if (sum.cost <= budget && better) best = sum;
    size_t digit = 0;
    while (digit < layers.size() && ++tried[digit] == layers[digit].size()) tried[digit++] = 0;
    if (digit == layers.size()) return best;
  }
}

// Losses are whole multiples of 1/64, so that sums are exact in any order and ties are ties.
Layers random_layers(std::mt19937& random, int64_t largest_cost, int largest_loss, bool bits) {
  const auto draw = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  Layers layers(static_cast<size_t>(draw(1, 7)));
  for (auto& layer : layers) {
    const int64_t weights = draw(1, largest_cost);
    const int64_t choices = draw(1, 5);
    for (int64_t k = 0; k < choices; ++k) {
      const int64_t cost = bits ? weights * (2 + k) : draw(0, largest_cost);
      layer.push_back({cost, static_cast<double>(draw(-largest_loss / 8, largest_loss)) / 64.0});
    }
  }
  return layers;
}

TEST(SearchTest, EqualsBruteForce) {
  std::mt19937 random(7);
  int checked = 0;
  for (int i = 0; i < 2000; ++i) {
    const bool bits = i % 2 == 0;
    const Layers layers =
        random_layers(random, i % 3 == 0 ? 5 : 100000, i % 5 == 0 ? 8 : 4096, bits);
    int64_t least = 0, most = 0;
    for (const auto& layer : layers) {
      int64_t low = layer[0].cost, high = layer[0].cost;
      for (const Choice& choice : layer) {
        low = std::min(low, choice.cost);
        high = std::max(high, choice.cost);
      }
      least += low;
      most += high;
    }
    for (const double share : {0.0, 0.1, 0.5, 0.9, 1.0, 1.5}) {
      const auto budget = least + static_cast<int64_t>(share * static_cast<double>(most - least));
      const Sum got = sum_of(layers, choose(layers, budget));
      const Sum expected = brute_force(layers, budget);
      ASSERT_EQ(got.loss, expected.loss) << "instance " << i << " share " << share;
      ASSERT_EQ(got.cost, expected.cost) << "instance " << i << " share " << share;
      ++checked;
    }
  }
  EXPECT_EQ(checked, 12000);
}

// As many layers as MobileNetV2, 5^60 combinations of unlike sizes.
TEST(SearchTest, SixtyLayersReturn) {
  std::mt19937 random(3);
  std::uniform_int_distribution<int64_t> sizes(1000, 2'000'000);
  std::uniform_real_distribution<double> losses(0.0, 1.0);
  Layers layers(60);
  int64_t eight = 0;
  for (auto& layer : layers) {
    const int64_t weights = sizes(random);
    const double scale = losses(random);
    for (const int bits : {2, 3, 4, 6, 8}) {
      layer.push_back({weights * bits, scale * std::pow(4.0, -bits)});
    }
    eight += weights * 8;
  }
  const std::vector<size_t> chosen = choose(layers, eight / 2);
  const Sum found = sum_of(layers, chosen);
  EXPECT_LE(found.cost, eight / 2);
  // No exchange of two layers' choices within the budget is better.
  for (size_t a = 0; a < layers.size(); ++a) {
    for (size_t b = 0; b < layers.size(); ++b) {
      for (size_t k = 0; k < 25; ++k) {
        std::vector<size_t> other = chosen;
        other[a] = k % 5;
        other[b] = k / 5;
        const Sum sum = sum_of(layers, other);
        if (sum.cost <= eight / 2) {
          ASSERT_GE(sum.loss, found.loss - 1e-12);
        }
      }
    }
  }
}

TEST(SearchTest, LayersWithoutAnyLoss) {
  const Layers layers(40, {{3, 0.0}, {7, 0.0}, {11, 0.0}});
  EXPECT_EQ(sum_of(layers, choose(layers, 121)).cost, 120);
}

TEST(SearchTest, ABudgetBelowTheSmallestIsNamed) {
  const Layers layers{{{4, 1.0}, {8, 0.0}}, {{3, 1.0}, {6, 0.0}}};
  EXPECT_EQ(choose(layers, 7), (std::vector<size_t>{0, 0}));
  try {
    choose(layers, 6);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "search: the budget is 6, the smallest possible is 7");
  }
}

TEST(SearchTest, WhatIsNotFiniteIsRefused) {
  EXPECT_THROW(choose({{{1, std::nan("")}}}, 5), Error);
  EXPECT_THROW(choose({{}}, 5), Error);
  EXPECT_TRUE(choose({}, 0).empty());
}

}  // namespace
}  // namespace qat::train
