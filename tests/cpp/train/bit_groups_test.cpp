#include "train/bit_groups.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <nlohmann/json.hpp>

#include "qat.h"
#include "train/bit_report.h"
#include "train/job_sections.h"

namespace qat::train {
namespace {

// A stem, two convolutions that read the same codes and are added, a transposed convolution with
// groups, and two linear layers with one weight.
struct BranchesImpl : torch::nn::Module {
  BranchesImpl() {
    namespace nn = torch::nn;
    stem = register_module("stem", nn::Conv2d(nn::Conv2dOptions(3, 6, 3).padding(1)));
    left = register_module("left", nn::Conv2d(nn::Conv2dOptions(6, 6, 3).padding(1).bias(false)));
    right = register_module("right", nn::Conv2d(nn::Conv2dOptions(6, 6, 1).bias(false)));
    up = register_module(
        "up", nn::ConvTranspose2d(nn::ConvTranspose2dOptions(6, 4, 2).stride(2).groups(2)));
    tied = register_module("tied", nn::Linear(4, 4));
    head = register_module("head", nn::Linear(4, 5));
  }
  at::Tensor forward(at::Tensor x) {
    x = torch::relu(stem(x));
    const at::Tensor one = left(x);  // the order of two operands is the compiler's choice
    x = torch::relu(one + right(x));
    x = torch::relu(up(x)).mean({2, 3});
    return head(torch::relu(tied(torch::relu(tied(x)))));
  }
  torch::nn::Conv2d stem{nullptr}, left{nullptr}, right{nullptr};
  torch::nn::ConvTranspose2d up{nullptr};
  torch::nn::Linear tied{nullptr}, head{nullptr};
};
TORCH_MODULE(Branches);

class BitGroupsTest : public testing::Test {
 protected:
  std::shared_ptr<PreparedModel> prepared(const Recipe& recipe = {}) {
    torch::manual_seed(1);
    return prepare(Branches(), {torch::randn({2, 3, 8, 8})}, recipe);
  }
  static std::vector<std::string> names(const std::vector<BitGroup>& groups) {
    std::vector<std::string> all;
    for (const BitGroup& group : groups) all.push_back(group.name());
    return all;
  }
};

using Names = std::vector<std::string>;

TEST_F(BitGroupsTest, LayersWithOneWeightAreChosenTogether) {
  const auto model = prepared();
  const auto groups = bit_groups(*model, false);
  EXPECT_EQ(names(groups), (Names{"stem", "left", "right", "up", "tied_1 + tied#1_1", "head_1"}));
  EXPECT_EQ(groups[4].parameters(), 16);
  for (size_t i = 0; i < groups.size(); ++i) {
    EXPECT_EQ(groups[i].end, i == 0 || i == 5) << groups[i].name();
    EXPECT_TRUE(groups[i].activations.empty());
  }
}

TEST_F(BitGroupsTest, LayersThatReadTheSameCodesAreChosenTogetherWithThem) {
  const auto model = prepared();
  const auto groups = bit_groups(*model, true);
  EXPECT_EQ(names(groups), (Names{"stem", "left + right", "up", "tied_1 + tied#1_1", "head_1"}));
  EXPECT_EQ(groups[0].activations, (Names{"stem"}));  // the model's input: an edge of the stem
  EXPECT_EQ(groups[1].activations, (Names{"relu"}));
  EXPECT_EQ(groups[3].activations, (Names{"mean", "relu_3"}));
}

// Counted by hand: 8 x 8 positions, a transposed convolution by its input's.
TEST_F(BitGroupsTest, MultiplyAccumulatesAndBytes) {
  const auto model = prepared();
  const auto groups = bit_groups(*model, false);
  const std::vector<int64_t> macs{64 * 6 * 27, 64 * 6 * 54, 64 * 6 * 6, 64 * 6 * 2 * 4, 2 * 16, 20};
  for (size_t i = 0; i < groups.size(); ++i) EXPECT_EQ(groups[i].macs, macs[i]) << i;
  EXPECT_EQ(groups[0].bytes(8), 162);
  EXPECT_EQ(groups[0].bytes(3), 61);  // 60.75
  EXPECT_EQ(groups[4].bytes(3), 6);
  EXPECT_EQ(groups[0].bit_operations(3), macs[0] * 3 * 8);
  EXPECT_EQ(bit_groups(*model, true)[0].bit_operations(3), macs[0] * 3 * 3);
}

TEST_F(BitGroupsTest, TheRecipeSaysTheBitsAndNothingElse) {
  Recipe base = eight_bits(Recipe::from_json({{"weights", {{"bits", 4}}}, {"target", "tensorrt"}}));
  EXPECT_EQ(base.weights.bits, 8);
  const auto groups = bit_groups(*prepared(base), true);
  const Recipe recipe = with_bits(base, groups, {8, 4, 8, 2, 8});
  const auto model = prepared(recipe);
  const auto after = bit_groups(*model, true);
  EXPECT_EQ(names(after), names(groups));
  const std::vector<int> bits{8, 4, 8, 2, 8};
  for (size_t i = 0; i < after.size(); ++i) {
    for (const GroupWeight& weight : after[i].weights) EXPECT_EQ(weight.recipe.bits, bits[i]);
  }
  const std::string plan = model->plan();
  for (const auto& [site, width] : std::vector<std::pair<std::string, std::string>>{
           {"\nrelu ", "s4"}, {"\nrelu_1 ", "s8"}, {"\nmean ", "s2"}, {"\nrelu_3 ", "s2"}}) {
    const std::string line = plan.substr(plan.find(site) + 1);
    EXPECT_NE(line.substr(0, line.find('\n')).find(" a " + width), std::string::npos) << plan;
  }
  const Recipe back =
      parse_recipe(parse_yaml(recipe_yaml(recipe, {"a header\nof two lines"}), "r"));
  EXPECT_EQ(back, recipe);
}

TEST_F(BitGroupsTest, RulesKeepWhatIsNotBits) {
  Recipe recipe;
  recipe.rules.resize(3);
  recipe.rules[0].sites = "up";
  recipe.rules[0].keep_float = true;
  recipe.rules[1].sites = "left";
  recipe.rules[1].weight_bits = 4;
  recipe.rules[2].sites = "*";
  recipe.rules[2].weight_bits = 5;
  recipe.rules[2].weight_method = "mse";
  const Recipe base = eight_bits(recipe);
  ASSERT_EQ(base.rules.size(), 3U);
  EXPECT_FALSE(base.rules[2].weight_bits.has_value());
  EXPECT_EQ(base.rules[2].weight_method, "mse");
  recipe.rules.erase(recipe.rules.begin());
  EXPECT_EQ(eight_bits(recipe).rules.size(), 1U);
}

// A layer that the recipe keeps in float is the first one, but no group.
TEST_F(BitGroupsTest, TheFirstLayerMayBeFloat) {
  Recipe recipe;
  recipe.rules.resize(1);
  recipe.rules[0].sites = "stem";
  recipe.rules[0].keep_float = true;
  const auto groups = bit_groups(*prepared(recipe), false);
  EXPECT_EQ(groups.front().name(), "left");
  EXPECT_FALSE(groups.front().end);
  EXPECT_TRUE(groups.back().end);
}

}  // namespace
}  // namespace qat::train
