// Trains a small network on Fashion-MNIST, first in float, then on the integers that it ships.
//
//   cpp_train [images, default 60000] [file to write, default model.safetensors]
//
// The gzipped IDX files of Debian's dataset-fashion-mnist are read through a pipe from gzip.
#include <qat.h>
#include <torch/torch.h>

#include <cstdio>
#include <iostream>
#include <string>

namespace nn = torch::nn;

// The payload of an IDX file behind its header: 16 bytes for images, 8 for labels.
torch::Tensor read_idx(const std::string& name, int64_t header, std::vector<int64_t> shape) {
  const std::string command = "gzip -dc /usr/share/datasets/fashion-mnist/" + name + ".gz";
  auto tensor = torch::empty(shape, torch::kUInt8);
  std::vector<char> skipped(header);
  FILE* pipe = popen(command.c_str(), "r");
  const size_t wanted = tensor.numel();
  const bool complete = pipe && fread(skipped.data(), 1, header, pipe) == size_t(header) &&
                        fread(tensor.data_ptr(), 1, wanted, pipe) == wanted;
  if (pipe) pclose(pipe);
  if (!complete) throw qat::Error(command + ": cannot read; install dataset-fashion-mnist");
  return tensor;
}

torch::Tensor images(const std::string& split, int64_t count) {
  return read_idx(split + "-images-idx3-ubyte", 16, {count, 1, 28, 28}).to(torch::kFloat) / 255;
}

template <typename Forward>
void train(Forward forward, std::vector<torch::Tensor> parameters, const torch::Tensor& x,
           const torch::Tensor& y, double rate, const std::function<void(double)>& step) {
  torch::optim::SGD optimizer(parameters, torch::optim::SGDOptions(rate).momentum(0.9));
  const int64_t batch = 64;
  for (int64_t begin = 0; begin + batch <= x.size(0); begin += batch) {
    optimizer.zero_grad();
    nn::functional::cross_entropy(forward(x.narrow(0, begin, batch)), y.narrow(0, begin, batch))
        .backward();
    optimizer.step();
    step(double(begin + batch) / x.size(0));
  }
}

int main(int argc, char** argv) try {
  const int64_t count = argc > 1 ? std::stoll(argv[1]) : 60000;
  const std::string path = argc > 2 ? argv[2] : "model.safetensors";
  torch::manual_seed(1);
  const auto x = images("train", count);
  const auto y = read_idx("train-labels-idx1-ubyte", 8, {count}).to(torch::kLong);
  const auto test_x = images("t10k", 1000);
  nn::Sequential model(nn::Conv2d(nn::Conv2dOptions(1, 16, 3).stride(2).padding(1).bias(false)),
                       nn::BatchNorm2d(16), nn::ReLU(), nn::Conv2d(16, 32, 3), nn::ReLU(),
                       nn::AdaptiveAvgPool2d(4), nn::Flatten(), nn::Linear(512, 10));

  train([&](auto batch) { return model->forward(batch); }, model->parameters(), x, y, 0.05,
        [](double) {});
  auto prepared = qat::prepare(model, {x.narrow(0, 0, 8)}, qat::Recipe::named("int8"));
  prepared->set_phase(qat::Phase::calibrate);
  prepared->forward(x.narrow(0, 0, 256));
  prepared->set_phase(qat::Phase::qat);
  train([&](auto batch) { return prepared->forward(batch); }, model->parameters(), x, y, 0.01,
        [&](double fraction) { prepared->step(fraction); });

  model->eval();
  torch::NoGradGuard no_grad;
  auto integer = qat::convert(*prepared);
  integer.save(path);
  const auto report = qat::verify(*prepared, qat::IntegerModel::load(path), {{test_x}});
  std::cout << "differing_logits=" << report.differing << "/" << report.logits << std::endl;
  return report.equal() ? 0 : 1;
} catch (const qat::Error& error) {
  std::cerr << "cpp_train: " << error.what() << std::endl;
  return 1;
}
