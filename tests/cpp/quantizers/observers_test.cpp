// Observers: what they keep, what they say, and that merging leaves no trace of the order.

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "error.h"
#include "numerics/qparams.h"
#include "quantizers/observer.h"

namespace qat {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kHuge = std::numeric_limits<float>::max();
constexpr float kTiny = std::numeric_limits<float>::denorm_min();

std::unique_ptr<Observer> observed(const std::string& name, const std::vector<at::Tensor>& batches,
                                   const ActivationRecipe& recipe = {}) {
  auto observer = make_observer(name, recipe);
  for (const at::Tensor& batch : batches) observer->observe(batch);
  return observer;
}

void expect_same_state(const Observer& a, const Observer& b) {
  const auto left = a.state(), right = b.state();
  ASSERT_EQ(left.size(), right.size());
  for (size_t i = 0; i < left.size(); ++i) {
    EXPECT_EQ(left[i].first, right[i].first);
    EXPECT_TRUE(at::equal(left[i].second, right[i].second)) << left[i].first;
  }
}

std::vector<ActivationRecipe> recipes() {
  std::vector<ActivationRecipe> all;
  for (const int bits : {2, 4, 8}) {
    for (const bool symmetric : {false, true}) {
      for (const bool power_of_two : {false, true}) {
        ActivationRecipe recipe;
        recipe.bits = bits;
        recipe.symmetric = symmetric;
        recipe.power_of_two = power_of_two;
        all.push_back(recipe);
      }
    }
  }
  return all;
}

template <typename Body>
std::string message_of(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Observer, EveryNameMakesOneThatIsEmptyWithItsFinalState) {
  for (const std::string& name : observer_names()) {
    const auto observer = make_observer(name, {});
    EXPECT_TRUE(observer->empty()) << name;
    const auto before = observer->state();
    observer->observe(torch::randn({100}));
    EXPECT_FALSE(observer->empty()) << name;
    const auto after = observer->state();
    ASSERT_EQ(before.size(), after.size());
    for (size_t i = 0; i < after.size(); ++i) {
      EXPECT_TRUE(before[i].second.is_same(after[i].second)) << name << after[i].first;
    }
  }
}

TEST(Observer, AStateThatIsCopiedGivesTheSameRange) {
  for (const std::string& name : observer_names()) {
    const auto from = observed(name, {torch::randn({1000}), torch::randn({1000})});
    const auto to = make_observer(name, {});
    for (size_t i = 0; i < from->state().size(); ++i) {
      to->state()[i].second.copy_(from->state()[i].second);
    }
    EXPECT_FALSE(to->empty());
    EXPECT_EQ(from->range(), to->range()) << name;
  }
}

TEST(Observer, DegenerateValuesGiveAFiniteRangeAndAPositiveScale) {
  const std::vector<std::vector<float>> cases = {{0.0f},
                                                 {-0.0f, 0.0f},
                                                 {5.0f},
                                                 {-5.0f, -5.0f},
                                                 {kNan, 1.0f, kInf},
                                                 {kTiny},
                                                 {-kTiny},
                                                 {kTiny, -kTiny, 1.0f},
                                                 {1e38f},
                                                 {-1e38f, 1e38f},
                                                 {kHuge},
                                                 {-kHuge, kHuge},
                                                 {1e38f, 1e-38f},
                                                 {-1e-38f},
                                                 {1.0f, -kHuge, kNan, 0.0f},
                                                 {0x1p-40f, 1e-9f}};
  for (const std::string& name : observer_names()) {
    for (const ActivationRecipe& recipe : recipes()) {
      for (const auto& values : cases) {
        // Twice, so that the state has moved once.
        const auto observer =
            observed(name, {torch::tensor(values), torch::tensor(values)}, recipe);
        ASSERT_FALSE(observer->empty()) << name;
        const Range range = observer->range();
        EXPECT_TRUE(std::isfinite(range.lo) && std::isfinite(range.hi)) << name << values[0];
        EXPECT_LE(range.lo, range.hi) << name << values[0];
        const auto params = numerics::choose_qparams(range.lo, range.hi, recipe.format(),
                                                     recipe.symmetry(), recipe.power_of_two);
        EXPECT_TRUE(std::isfinite(params.scale) && params.scale > 0) << name << values[0];
        EXPECT_GE(params.zero_point, recipe.format().quant_min());
        EXPECT_LE(params.zero_point, recipe.format().quant_max());
      }
    }
  }
}

TEST(Observer, ValuesThatAreNotFiniteAreNoValues) {
  const auto none = torch::tensor({kNan, kInf, -kInf});
  for (const std::string& name : observer_names()) {
    EXPECT_TRUE(observed(name, {none, torch::empty({0})})->empty()) << name;
    const auto x = torch::randn({50});
    EXPECT_EQ(observed(name, {none, at::cat({x, none}), none})->range(),
              observed(name, {x})->range())
        << name;
  }
  const auto state = observed("mse", {none, torch::tensor({1.0f, kNan, 0.0f})})->state();
  EXPECT_EQ(state[3].first, "tally");
  EXPECT_TRUE(at::equal(state[3].second, torch::tensor({1, 4}, torch::kLong)));
}

TEST(Observer, AConstantIsCoveredToTheEnd) {
  for (const std::string& name : observer_names()) {
    for (const float value : {3.25f, -0.7f, 1e-5f, 1e38f}) {
      const Range range = observed(name, {torch::full({64}, value)})->range();
      EXPECT_EQ(value < 0 ? range.lo : range.hi, value) << name;
    }
  }
}

TEST(Observer, MergingInAnyOrderEqualsSeeingEverything) {
  torch::manual_seed(3);
  const std::vector<at::Tensor> parts = {torch::randn({500}), torch::randn({300}) * 1e-6,
                                         torch::randn({700}) * 1e9, torch::zeros({4}),
                                         torch::tensor({kNan, 2.0f})};
  for (const std::string name : {"minmax", "percentile", "mse", "kl"}) {
    const auto everything = observed(name, parts);
    std::vector<size_t> order = {0, 1, 2, 3, 4};
    do {
      // ((0 + 1) + 2) + (3 + 4), and with an empty one in between.
      const auto left = make_observer(name, {}), right = make_observer(name, {});
      for (size_t i = 0; i < order.size(); ++i) {
        (i < 3 ? left : right)->merge(*observed(name, {parts[order[i]]}));
      }
      left->merge(*make_observer(name, {}));
      left->merge(*right);
      expect_same_state(*left, *everything);
      EXPECT_EQ(left->range(), everything->range());
    } while (std::next_permutation(order.begin(), order.end()));
  }
}

TEST(Observer, MergingRefusesAnotherKind) {
  EXPECT_EQ(message_of([] { make_observer("minmax", {})->merge(*make_observer("mse", {})); }),
            "observer: merge: expected an observer made by the same recipe, got another kind.");
  EXPECT_EQ(message_of([] { make_observer("mse", {})->merge(*make_observer("minmax", {})); }),
            "observer mse: merge: expected an observer that keeps a histogram, got another kind.");
}

TEST(Observer, AnUnknownNameIsRefused) {
  EXPECT_EQ(message_of([] { make_observer("entropy", {}); }),
            "observer: expected one of ema_minmax, minmax, percentile, mse, kl, got 'entropy'.");
}

TEST(Observer, AHistogramCannotLearnFromARange) {
  for (const std::string name : {"percentile", "mse", "kl"}) {
    EXPECT_TRUE(make_observer(name, {})->needs_values());
    EXPECT_EQ(message_of([&] {
                make_observer(name, {})->observe_range({0.0f, 1.0f});
              }),
              "observer " + name +
                  ": expected whole tensors, got the range of one; calibrate with values first, "
                  "and leave the range alone afterwards.");
  }
  EXPECT_FALSE(make_observer("minmax", {})->needs_values());
  EXPECT_FALSE(make_observer("ema_minmax", {})->needs_values());
}

TEST(Observer, ARangeFollowsEveryWayOfWritingTheState) {
  const auto small = torch::randn({1000}), large = torch::randn({1000}) * 100;
  for (const std::string name : {"percentile", "mse", "kl"}) {
    const auto wanted = observed(name, {small, large})->range();
    const auto other = observed(name, {large}), observing = observed(name, {small});
    const auto merging = observed(name, {small}), copying = observed(name, {small});
    EXPECT_EQ(observing->range(), merging->range());
    EXPECT_EQ(observing->range(), copying->range());
    observing->observe(large);
    merging->merge(*other);
    for (size_t i = 0; i < copying->state().size(); ++i) {
      copying->state()[i].second.copy_(observing->state()[i].second);
    }
    for (const auto* observer : {observing.get(), merging.get(), copying.get()}) {
      EXPECT_EQ(observer->range(), wanted) << name;
    }
  }
}

TEST(Observer, ADamagedExponentIsRefused) {
  const auto observer = observed("kl", {torch::ones({3})});
  observer->state()[1].second.fill_(119);
  EXPECT_EQ(message_of([&] { observer->range(); }),
            "observer: exponent: expected an integer from -50 to 118, got 119; the checkpoint is "
            "damaged.");
}

TEST(EmaMinMax, IsAMeanOfAllBatchesAndThenFollowsByMomentum) {
  ActivationRecipe recipe;
  recipe.momentum = 0.3;
  const auto observer = make_observer("ema_minmax", recipe);
  const std::vector<Range> batches = {{-1.0f, 2.0f}, {-0.7f, 5.3f}, {-9.1f, 0.4f}, {-0.2f, 3.3f}};
  const double shares[] = {1.0, 0.5, 1.0 / 3.0, 0.3};
  float lo = 0.0f, hi = 0.0f;
  for (size_t i = 0; i < batches.size(); ++i) {
    observer->observe_range(batches[i]);
    const auto share = static_cast<float>(shares[i]);
    lo = lo + share * (batches[i].lo - lo);
    hi = hi + share * (batches[i].hi - hi);
    EXPECT_EQ(observer->range(), (Range{lo, hi})) << i;
  }
  EXPECT_EQ(observer->state()[2].second.item<int64_t>(), 4);
}

TEST(EmaMinMax, WholeTensorsAndTheirRangesAreTheSame) {
  const auto x = torch::randn({3, 4, 5}), y = torch::randn({7}) * 3;
  const auto whole = observed("ema_minmax", {x, y}), ranges = make_observer("ema_minmax", {});
  for (const at::Tensor& t : {x, y}) {
    ranges->observe_range({t.min().item<float>(), t.max().item<float>()});
  }
  expect_same_state(*whole, *ranges);
}

TEST(EmaMinMax, MergingWeighsByTheNumberOfBatches) {
  const auto one = make_observer("ema_minmax", {}), three = make_observer("ema_minmax", {});
  one->observe_range({-1.0f, 8.0f});
  for (int i = 0; i < 3; ++i) three->observe_range({-5.0f, 4.0f});
  one->merge(*three);
  EXPECT_EQ(one->range(), (Range{-4.0f, 5.0f}));  // (1·-1 + 3·-5)/4, (1·8 + 3·4)/4
  EXPECT_EQ(one->state()[2].second.item<int64_t>(), 4);
  one->merge(*make_observer("ema_minmax", {}));
  EXPECT_EQ(one->range(), (Range{-4.0f, 5.0f}));
}

TEST(MinMax, KeepsTheExtremesOfAllBatches) {
  const auto observer = observed(
      "minmax", {torch::tensor({2.0f, 3.0f}), torch::tensor({2.5f}), torch::tensor({1.5f})});
  EXPECT_EQ(observer->range(), (Range{1.5f, 3.0f}));
  EXPECT_EQ(observer->state()[2].second.item<int64_t>(), 3);
}

TEST(Percentile, IsThatOfTheRecipe) {
  const auto x = torch::arange(1, 1025).to(torch::kFloat);  // bins of 2 up to 2048
  ActivationRecipe recipe;
  recipe.percentile = 75.0;
  const Range range = observed("percentile", {x, -x / 2}, recipe)->range();
  EXPECT_NEAR(range.hi, 768.0, 2.0);  // within a bin of the 768th value
  EXPECT_NEAR(range.lo, -384.0, 2.0);
}

}  // namespace
}  // namespace qat
