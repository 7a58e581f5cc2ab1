#include "train/hessian.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "error.h"

namespace qat::train {
namespace {

// The Hessian of `loss` in all weights together, one unit vector at a time.
at::Tensor exact_hessian(const std::vector<at::Tensor>& weights, const at::Tensor& loss) {
  const auto gradients = torch::autograd::grad({loss}, weights, {}, true, true);
  std::vector<at::Tensor> flat;
  for (const auto& gradient : gradients) flat.push_back(gradient.reshape({-1}));
  const at::Tensor all = torch::cat(flat);
  std::vector<at::Tensor> rows;
  for (int64_t i = 0; i < all.numel(); ++i) {
    const auto row = torch::autograd::grad({all[i]}, weights, {}, true, false, true);
    std::vector<at::Tensor> parts;
    for (size_t k = 0; k < row.size(); ++k) {
      parts.push_back(row[k].defined() ? row[k].reshape({-1})
                                       : torch::zeros({weights[k].numel()}, torch::kDouble));
    }
    rows.push_back(torch::cat(parts));
  }
  return torch::stack(rows).detach();
}

// Two layers with a smooth activation in double precision, on 12 rows in 3 batches.
struct TinyNet {
  TinyNet() {
    torch::manual_seed(4);
    const auto options = torch::dtype(torch::kDouble);
    weights = {0.3 * torch::randn({5, 4}, options), torch::randn({3, 5}, options)};
    for (at::Tensor& weight : weights) weight.requires_grad_();
    x = torch::randn({12, 4}, options);
    y = torch::randint(0, 3, {12}, torch::kLong);
  }
  at::Tensor loss(int64_t from, int64_t rows) const {
    const at::Tensor hidden = torch::tanh(torch::mm(x.narrow(0, from, rows), weights[0].t()));
    const at::Tensor error = torch::nn::functional::cross_entropy(
        torch::mm(hidden, weights[1].t()), y.narrow(0, from, rows),
        torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kSum));
    // The decay makes the traces, 0.1 per weight more, large beside their errors.
    const at::Tensor decay = weights[0].square().sum() + weights[1].square().sum();
    return error / 12.0 + 0.05 * decay * static_cast<double>(rows) / 12.0;
  }
  std::vector<at::Tensor> weights;
  at::Tensor x, y;
};

// z'Hz restricted to a block B of z has the variance
//   2 * sum over a != b in B of H_ab^2 + sum over a in B, c outside of H_ac^2,
// because products of two different signs have mean 0 and variance 1.
double variance_of(const at::Tensor& hessian, int64_t from, int64_t size) {
  const at::Tensor squares = hessian.narrow(0, from, size).square();
  const at::Tensor block = squares.narrow(1, from, size);
  const double inside = (block.sum() - block.diagonal().sum()).item<double>();
  return 2 * inside + (squares.sum() - block.sum()).item<double>();
}

TEST(HessianTest, TracesAgreeWithTheExactHessian) {
  const TinyNet net;
  const at::Tensor exact = exact_hessian(net.weights, net.loss(0, 12));
  const HutchinsonOptions options{.samples = 4000, .seed = 9};
  const auto traces = hessian_traces(
      net.weights, 3, [&](int64_t index) { return net.loss(4 * index, 4); }, options);
  int64_t from = 0;
  for (size_t i = 0; i < net.weights.size(); ++i) {
    const int64_t size = net.weights[i].numel();
    const double trace = exact.narrow(0, from, size).narrow(1, from, size).trace().item<double>();
    const double error = std::sqrt(variance_of(exact, from, size) / 4000.0);
    // Five standard errors: one draw of 1.7 million falls outside.
    EXPECT_NEAR(traces[i].trace, trace, 5 * error) << "weight " << i;
    EXPECT_GT(std::abs(trace), 20 * error) << "the bound says nothing about weight " << i;
    // The error of an estimated standard deviation is about 1/sqrt(2 * 4000) = 1.1 %, more for
    // heavy tails.
    EXPECT_NEAR(traces[i].standard_error, error, 0.1 * error);
    from += size;
  }
}

// Random signs have z_i^2 = 1: a diagonal Hessian is found by any sample. Small whole numbers are
// exact in binary64.
TEST(HessianTest, ADiagonalHessianIsExact) {
  const at::Tensor a = torch::ones({2, 3}, torch::kDouble).requires_grad_();
  const at::Tensor b = torch::ones({4}, torch::kDouble).requires_grad_();
  const at::Tensor curvature = torch::arange(6, torch::kDouble).reshape({2, 3});
  const auto traces =
      hessian_traces({a, b}, 2,
                     [&](int64_t index) {
                       return (curvature * a.square()).sum() * static_cast<double>(index + 1) +
                              0.5 * b.square().sum();
                     },
                     {.samples = 3, .seed = 2});
  EXPECT_EQ(traces[0].trace, 2.0 * 15 * (1 + 2));
  EXPECT_EQ(traces[1].trace, 4.0 * 2);
  EXPECT_EQ(traces[0].standard_error, 0.0);
  EXPECT_EQ(traces[1].standard_error, 0.0);
}

TEST(HessianTest, SeedAndNumberDecideTheEstimate) {
  const TinyNet net;
  const auto run = [&](uint64_t seed) {
    return hessian_traces(net.weights, 1, [&](int64_t) { return net.loss(0, 12); },
                          {.samples = 4, .seed = seed});
  };
  EXPECT_EQ(run(1)[0].trace, run(1)[0].trace);
  EXPECT_NE(run(1)[0].trace, run(2)[0].trace);
}

TEST(HessianTest, ALinearLossHasNone) {
  const at::Tensor a = torch::ones({3}, torch::kDouble).requires_grad_();
  const auto traces =
      hessian_traces({a}, 1, [&](int64_t) { return 2 * a.sum(); }, {.samples = 2, .seed = 1});
  EXPECT_EQ(traces[0].trace, 0.0);
}

// The fused kernel of attention has no second derivative, and stays on for everybody else.
TEST(HessianTest, AttentionHasASecondDerivative) {
  torch::manual_seed(5);
  const at::Tensor w = torch::randn({8, 8}).requires_grad_();
  const at::Tensor x = torch::randn({2, 1, 6, 8});
  const auto traces =
      hessian_traces({w}, 1,
                     [&](int64_t) {
                       const at::Tensor q = torch::matmul(x, w);
                       return at::scaled_dot_product_attention(q, x, x).square().sum();
                     },
                     {.samples = 2, .seed = 1});
  EXPECT_NE(traces[0].trace, 0.0);
  EXPECT_TRUE(at::globalContext().userEnabledFlashSDP());
}

TEST(HessianTest, OneSampleHasNoStandardError) {
  try {
    hessian_traces({}, 0, {}, {.samples = 1, .seed = 1});
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "hessian: samples: expected at least 2, got 1");
  }
}

}  // namespace
}  // namespace qat::train
