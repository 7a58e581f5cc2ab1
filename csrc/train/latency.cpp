#include "train/latency.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <chrono>

namespace qat::train {

double median_ms(const std::function<void()>& call, int runs) {
  std::vector<double> times;
  for (int i = -2; i < runs; ++i) {
    const auto start = std::chrono::steady_clock::now();
    call();
    const std::chrono::duration<double, std::milli> taken =
        std::chrono::steady_clock::now() - start;
    if (i >= 0) times.push_back(taken.count());
  }
  std::nth_element(times.begin(), times.begin() + runs / 2, times.end());
  return times[static_cast<size_t>(runs / 2)];
}

std::vector<Latency> measure_latency(Network& network, const IntegerModel& model,
                                     const std::vector<int64_t>& shape) {
  const at::NoGradGuard no_grad;
  std::vector<Latency> all;
  for (const auto& [batch, runs] : {std::pair<int64_t, int>{1, 31}, {64, 11}}) {
    std::vector<int64_t> sizes = shape;
    sizes.insert(sizes.begin(), batch);
    const at::Tensor input = at::zeros(sizes);
    all.push_back({batch, median_ms([&] { network.forward(input); }, runs),
                   median_ms([&] { model.forward(input); }, runs)});
  }
  return all;
}

}  // namespace qat::train
