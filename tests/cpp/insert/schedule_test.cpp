#include <qat.h>

#include <nlohmann/json.hpp>

#include "graph/expect_error.h"
#include "insert/net.h"

namespace qat::testing {
namespace {

class ScheduleTest : public ::testing::Test {
 protected:
  void make(const char* recipe) {
    torch::manual_seed(4);
    input = torch::randn({4, 3, 10, 10});
    prepared = prepare(net, {input}, Recipe::from_json(nlohmann::json::parse(recipe)));
    net->train();
  }
  Net net;
  at::Tensor input;
  std::shared_ptr<PreparedModel> prepared;
};

TEST_F(ScheduleTest, SitesBeginInTurn) {
  make(R"({"rules": [{"sites": "conv1", "start": 0.25}, {"sites": "conv2", "start": 0.5}]})");
  for (const double fraction : {0.0, 0.25, 0.5}) {
    prepared->step(fraction);
    EXPECT_EQ(prepared->fully_quantized(), fraction == 0.5);
    prepared->forward(input).sum().backward();
  }
  net->eval();
  EXPECT_EQ(verify(*prepared, convert(*prepared), {{input}}).differing, 0);
}

TEST_F(ScheduleTest, ConversionNamesTheFirstSiteThatIsLeft) {
  make(R"({"rules": [{"sites": "conv2", "start": 0.5}]})");
  prepared->forward(input);
  net->eval();
  EXPECT_EQ(message_of([&] { convert(*prepared); }),
            "convert: 'conv2' (conv2d) is not quantized before fraction 0.5; call step(model, "
            "0.5)");
}

TEST_F(ScheduleTest, DampingIsALossOfTheWeights) {
  make(R"({"weights": {"bits": 4}, "oscillation": {"damping": 0.1}})");
  prepared->step(1.0);
  prepared->forward(input);
  const at::Tensor loss = prepared->oscillation_loss();
  EXPECT_GT(loss.item<double>(), 0.0);
  loss.backward();
  EXPECT_GT(net->conv2->weight.grad().abs().sum().item<double>(), 0.0);
}

}  // namespace
}  // namespace qat::testing
