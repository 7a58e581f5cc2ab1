#pragma once
// Wall-clock time of one forward call.

#include <functional>
#include <vector>

#include "lower/integer_model.h"
#include "train/models/network.h"

namespace qat::train {

struct Latency {
  int64_t batch = 0;
  double float_ms = 0, int8_ms = 0;  // medians; 0: not measured
};

// Median of `runs` calls after two that do not count, in milliseconds.
double median_ms(const std::function<void()>& call, int runs);

// Batches of 1 and 64.
std::vector<Latency> measure_latency(Network& network, const IntegerModel& model,
                                     const std::vector<int64_t>& shape);

}  // namespace qat::train
