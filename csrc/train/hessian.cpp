#include "train/hessian.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/randint.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "error.h"
#include "train/data.h"

namespace qat::train {
namespace {

// The fused attention kernels have no second derivative.
class PlainAttention {
 public:
  PlainAttention() : flash_(at::globalContext().userEnabledFlashSDP()) {
    at::globalContext().setSDPUseFlash(false);
  }
  ~PlainAttention() { at::globalContext().setSDPUseFlash(flash_); }

 private:
  bool flash_;
};

// z of one sample, the same for every batch.
std::vector<at::Tensor> random_signs(const std::vector<at::Tensor>& weights, uint64_t seed,
                                     int64_t sample) {
  at::Generator generator = random_stream(seed, sample, 0);
  std::vector<at::Tensor> signs;
  for (const at::Tensor& weight : weights) {
    signs.push_back(at::randint(0, 2, weight.sizes(), generator, weight.options()) * 2 - 1);
  }
  return signs;
}

// Adds z'Hz of one batch to `products`, [sample][weight].
void add_products(const std::vector<at::Tensor>& weights, const at::Tensor& loss, uint64_t seed,
                  std::vector<std::vector<double>>& products) {
  const auto gradients = torch::autograd::grad({loss}, weights, {}, /*retain_graph=*/true,
                                               /*create_graph=*/true, /*allow_unused=*/true);
  for (size_t sample = 0; sample < products.size(); ++sample) {
    const auto signs = random_signs(weights, seed, static_cast<int64_t>(sample));
    at::Tensor slope;
    for (size_t i = 0; i < weights.size(); ++i) {
      if (!gradients[i].defined()) continue;
      const at::Tensor part = (gradients[i] * signs[i]).sum();
      slope = slope.defined() ? slope + part : part;
    }
    if (!slope.defined() || !slope.requires_grad()) return;  // the loss is linear
    const auto curved = torch::autograd::grad({slope}, weights, {}, /*retain_graph=*/true,
                                              /*create_graph=*/false, /*allow_unused=*/true);
    for (size_t i = 0; i < weights.size(); ++i) {
      if (!curved[i].defined()) continue;
      products[sample][i] += (curved[i].to(at::kDouble) * signs[i]).sum().item<double>();
    }
  }
}

TraceEstimate estimate(const std::vector<std::vector<double>>& products, size_t weight) {
  const auto count = static_cast<double>(products.size());
  double mean = 0, squares = 0;
  for (const auto& sample : products) mean += sample[weight] / count;
  for (const auto& sample : products) squares += std::pow(sample[weight] - mean, 2);
  return {mean, std::sqrt(squares / (count - 1) / count)};
}

}  // namespace

std::vector<TraceEstimate> hessian_traces(const std::vector<at::Tensor>& weights, int64_t batches,
                                          const BatchLoss& loss, const HutchinsonOptions& options) {
  if (options.samples < 2) {
    throw Error("hessian: samples: expected at least 2, got " + std::to_string(options.samples));
  }
  const at::AutoGradMode grad_mode(true);
  const PlainAttention plain_attention;
  std::vector<std::vector<double>> products(static_cast<size_t>(options.samples),
                                            std::vector<double>(weights.size(), 0.0));
  for (int64_t index = 0; index < batches; ++index) {
    add_products(weights, loss(index), options.seed, products);
  }
  std::vector<TraceEstimate> traces;
  for (size_t i = 0; i < weights.size(); ++i) traces.push_back(estimate(products, i));
  return traces;
}

}  // namespace qat::train
