#include "insert/mode.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <string>
#include <vector>

namespace qat::insert {
namespace {

// Notes the operators and calls them.
struct Listener final : Handler {
  void handle(const c10::OperatorHandle& op, torch::jit::Stack& stack) override {
    names.push_back(op.operator_name().name);
    op.callBoxed(&stack);
  }
  std::vector<std::string> names;
};

TEST(ModeTest, SeesCompositeOperatorsWhileTheGuardLives) {
  Listener listener;
  const at::Tensor x = torch::ones({2, 3}), w = torch::ones({4, 3});
  {
    ModeGuard guard(&listener);
    EXPECT_EQ(current_handler(), &listener);
    at::linear(x, w);
  }
  EXPECT_EQ(current_handler(), nullptr);
  at::linear(x, w);
  EXPECT_EQ(listener.names, std::vector<std::string>{"aten::linear"});
}

TEST(ModeTest, GuardsNest) {
  Listener outer, inner;
  const at::Tensor x = torch::ones({2});
  ModeGuard guard(&outer);
  {
    ModeGuard nested(&inner);
    at::relu(x);
  }
  at::tanh(x);
  EXPECT_EQ(inner.names, std::vector<std::string>{"aten::relu"});
  EXPECT_EQ(outer.names, std::vector<std::string>{"aten::tanh"});
}

TEST(ModeTest, RegionsHaveNumbersOfTheirOwn) {
  EXPECT_EQ(current_region(), 0);
  int64_t first = 0;
  {
    RegionGuard guard;
    first = current_region();
    EXPECT_NE(first, 0);
    {
      RegionGuard nested;
      EXPECT_NE(current_region(), first);
    }
    EXPECT_EQ(current_region(), first);
  }
  RegionGuard again;
  EXPECT_NE(current_region(), first);
}

}  // namespace
}  // namespace qat::insert
