#pragma once
// A C++ model as users write them: typed members, called by the forward itself, in place.

#include <torch/torch.h>

namespace qat::testing {

struct NetImpl : torch::nn::Module {
  NetImpl()
      : conv1(register_module("conv1",
                              torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 8, 3).bias(false)))),
        bn1(register_module("bn1", torch::nn::BatchNorm2d(8))),
        conv2(register_module(
            "conv2", torch::nn::Conv2d(torch::nn::Conv2dOptions(8, 8, 3).padding(1).bias(false)))),
        bn2(register_module("bn2", torch::nn::BatchNorm2d(8))),
        head(register_module("head", torch::nn::Linear(8, 4))) {}

  at::Tensor stem(const at::Tensor& x) { return bn1(conv1(x)).relu_(); }
  at::Tensor block(const at::Tensor& x) { return bn2(conv2(x)).add_(x).relu_(); }
  at::Tensor forward(const at::Tensor& x) { return head(block(stem(x)).mean({2, 3})); }

  torch::nn::Conv2d conv1;
  torch::nn::BatchNorm2d bn1;
  torch::nn::Conv2d conv2;
  torch::nn::BatchNorm2d bn2;
  torch::nn::Linear head;
};
TORCH_MODULE(Net);

}  // namespace qat::testing
