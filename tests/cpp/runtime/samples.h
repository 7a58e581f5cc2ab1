#pragma once
// A small graph for every operator that the runtime has.

#include <string>
#include <vector>

#include "runtime/builder.h"

namespace qat::runtime::testing {

struct Sample {
  std::string name;
  Model model;
};

// Every alternative of Attributes but `aten` stands in one of them, most in both layouts.
std::vector<Sample> layer_samples();
std::vector<Sample> elementwise_samples();
std::vector<Sample> layout_samples();
std::vector<Sample> network_samples();
std::vector<Sample> all_samples();

// Random inputs for a batch.
std::vector<Tensor> random_inputs(const Graph& graph, int64_t batch);

// Adds nodes behind codes [N, channels, size...] of a model of one input, and makes what it returns
// an output.
template <typename Body>
Sample sample_of(const std::string& name, const Sizes& shape, const Body& body) {
  Builder b;
  Random random(1);
  const int64_t x = b.codes_input(batched(shape), {0.02f, 120});
  b.output(body(b, random, x));
  return {name, std::move(b.model)};
}

// Codes that a convolution leaves channels-last.
inline int64_t convolved(Builder& b, Random& random, int64_t x, int64_t outputs) {
  const Shape& s = b.value(x).shape;
  const Sizes size{s[2].constant, s[3].constant};
  const ConvShape conv{s[1].constant, outputs, 1, size, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {0, 0}};
  return b.quantize(add_conv(b, random, x, conv), {0.02f, 100});
}

}  // namespace qat::runtime::testing
