#include <qat.h>

#include "graph/expect_error.h"
#include "insert/net.h"

namespace qat::testing {
namespace {

class TapsTest : public ::testing::Test {
 protected:
  TapsTest() {
    torch::manual_seed(4);
    input = torch::randn({4, 3, 10, 10});
    prepared = prepare(net, {input});
    net->train();
    prepared->forward(input);
    net->eval();
  }
  Net net;
  at::Tensor input;
  std::shared_ptr<PreparedModel> prepared;
};

TEST_F(TapsTest, ListsTheSites) {
  EXPECT_EQ(prepared->sites(), (std::vector<std::string>{"conv1", "bn1", "relu", "conv2", "bn2",
                                                         "add", "relu_1", "mean", "head_1"}));
}

TEST_F(TapsTest, ChangeNothing) {
  const at::Tensor plain = prepared->forward(input);
  EXPECT_TRUE(prepared->forward_with_taps({input}, prepared->sites()).outputs[0].equal(plain));
}

TEST_F(TapsTest, InFloatTheyAreTheModelsOwnValues) {
  prepared->set_phase(Phase::floating);
  const TappedOutputs all =
      prepared->forward_with_taps({input}, {"conv1", "bn1", "relu", "head_1"});
  EXPECT_TRUE(all.taps[0].equal(net->conv1(input)));
  // relu_ writes over what bn1 gave.
  EXPECT_TRUE(all.taps[1].equal(net->bn1(net->conv1(input))));
  EXPECT_TRUE(all.taps[2].equal(net->stem(input)));
  EXPECT_TRUE(all.taps[3].equal(net->forward(input)));
  EXPECT_TRUE(all.outputs[0].equal(net->forward(input)));
}

TEST_F(TapsTest, InFloatNothingIsObserved) {
  prepared->set_phase(Phase::floating);
  net->train();
  const auto values = [&] {
    std::vector<at::Tensor> all;
    for (const auto& [name, tensor] : prepared->state()) all.push_back(tensor.clone());
    return all;
  };
  const auto before = values();
  prepared->forward_with_taps({input * 10}, {"relu"});
  const auto after = values();
  for (size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(before[i].equal(after[i]));
}

TEST_F(TapsTest, QuantizedTheyAreMultiplesOfTheStep) {
  const at::Tensor value = prepared->forward_with_taps({input}, {"relu"}).taps[0];
  float scale = 0;
  for (const SiteSignal& signal : prepared->measure({input})) {
    if (signal.site == "relu") scale = signal.scale;
  }
  ASSERT_GT(scale, 0.0f);
  // Codes are integers up to 255, of which a float product is one rounding away.
  const at::Tensor codes = value / scale;
  EXPECT_LE((codes - codes.round()).abs().max().item<float>(), 255 * 1.2e-7f);
  EXPECT_GT(codes.max().item<float>(), 1.0f);
}

TEST_F(TapsTest, AGradientFlowsFromThem) {
  net->train();
  for (const char* site : {"conv1", "bn1", "relu", "add"}) {
    net->zero_grad();
    prepared->forward_with_taps({input}, {site}).taps[0].square().mean().backward();
    const at::Tensor gradient = net->conv1->weight.grad();
    ASSERT_TRUE(gradient.defined()) << site;
    EXPECT_GT(gradient.abs().sum().item<float>(), 0.0f) << site;
    EXPECT_FALSE(net->head->weight.grad().defined()) << site;
  }
}

// The gradient of two losses is the sum of the gradients of each: the tap adds a path and takes
// none away.
TEST_F(TapsTest, GradientsOfTapAndOutputAdd) {
  prepared->step(1.0);
  net->train();
  const auto gradient = [&](double output, double tap) {
    net->zero_grad();
    const TappedOutputs all = prepared->forward_with_taps({input}, {"bn1"});
    (all.outputs[0].square().sum() * output + all.taps[0].square().mean() * tap).backward();
    return net->conv1->weight.grad().clone();
  };
  const at::Tensor both = gradient(1, 1), sum = gradient(1, 0) + gradient(0, 1);
  const double size = both.abs().max().item<double>();
  // Sums of 256 products in another order.
  EXPECT_LE((both - sum).abs().max().item<double>(), 256 * 1.2e-7 * size);
  EXPECT_GT((both - gradient(1, 0)).abs().max().item<double>(),
            1e-3 * gradient(0, 1).abs().max().item<double>());
}

TEST_F(TapsTest, NamesWhatIsNoSite) {
  EXPECT_EQ(message_of([&] { prepared->forward_with_taps({input}, {"rleu"}); }),
            "taps: there is no site 'rleu'; did you mean 'relu'?");
  EXPECT_EQ(message_of([&] { prepared->forward_with_taps({input}, {"attention"}); }),
            "taps: there is no site 'attention'; sites() lists 'conv1', 'bn1', 'relu', 'conv2', "
            "'bn2', 'add', 'relu_1', 'mean' and others");
}

}  // namespace
}  // namespace qat::testing
