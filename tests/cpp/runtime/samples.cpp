#include "runtime/samples.h"

namespace qat::runtime::testing {
namespace {

int64_t dequantize(Builder& b, int64_t x) { return b.float_node(DequantizeAttributes{}, {x}); }

int64_t activate(Builder& b, int64_t x, numerics::ActivationKind kind, const std::string& slope) {
  return b.float_node(ActivationAttributes{{kind, 0.1f, 0}, slope}, {x});
}

int64_t affine(Builder& b, Random& random, int64_t x) {
  const int64_t channels = b.value(x).shape[1].constant;
  const AffineAttributes a{b.add_tensor(random.reals({channels}, 0.5f, 2)),
                           b.add_tensor(random.reals({channels}, -1, 1))};
  return b.float_node(a, {x});
}

Sample conv(const std::string& name, const ConvShape& shape) {
  Sizes input{shape.channels};
  input.insert(input.end(), shape.input.begin(), shape.input.end());
  return sample_of(name, input, [&](Builder& b, Random& random, int64_t x) {
    const int64_t v = b.relu(add_conv(b, random, x, shape));
    return b.quantize(v, {0.02f, 3});
  });
}

// The operator on an input of the graph and behind a convolution.
template <typename Body>
std::vector<Sample> in_both_layouts(const std::string& name, const Body& body) {
  const Sizes shape{8, 6, 5};
  return {sample_of(name, shape, body),
          sample_of(name + " channels-last", shape, [&](Builder& b, Random& random, int64_t x) {
            return body(b, random, convolved(b, random, x, 8));
          })};
}

void append(std::vector<Sample>& to, std::vector<Sample> from) {
  std::move(from.begin(), from.end(), std::back_inserter(to));
}

Attributes max_pool(size_t rank) {
  return MaxPoolAttributes{Sizes(rank, 2), Sizes(rank, 2), Sizes(rank, 0), Sizes(rank, 1), false};
}

Attributes average_pool(size_t rank) {
  return AvgPoolAttributes{Sizes(rank, 2), Sizes(rank, 2), Sizes(rank, 0), false, true, 0};
}

// A pool over all spatial axes of an input that are 4 each.
Sample pool(const std::string& name, const Attributes& attributes, size_t rank, int64_t result) {
  Sizes from{8}, to{8};
  from.resize(rank + 1, 4);
  to.resize(rank + 1, result);
  return sample_of(name, from, [&](Builder& b, Random&, int64_t x) {
    const bool is_max = std::holds_alternative<MaxPoolAttributes>(attributes);
    return is_max ? b.codes_node(attributes, {x}, batched(to))
                  : b.float_node(attributes, {x}, batched(to));
  });
}

}  // namespace

std::vector<Sample> layer_samples() {
  std::vector<Sample> all{
      conv("conv 1-d", {6, 10, 2, {9}, {3}, {1}, {1}, {1}, {0}}),
      conv("conv 2-d", {6, 10, 1, {9, 7}, {3, 3}, {2, 1}, {1, 1}, {1, 1}, {0, 0}}),
      conv("conv depthwise", {70, 70, 70, {9, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {0, 0}}),
      conv("conv 3-d", {3, 5, 1, {4, 5, 6}, {2, 3, 3}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}, {0, 0, 0}}),
      conv("conv transposed", {6, 4, 1, {5, 4}, {2, 2}, {2, 2}, {0, 0}, {1, 1}, {1, 1}, true}),
      sample_of("linear", {19},
                [](Builder& b, Random& random, int64_t x) {
                  return b.quantize(add_linear(b, random, x, 7), {0.02f, 3});
                }),
      sample_of("linear on sequences", {5, 19},
                [](Builder& b, Random& random, int64_t x) { return add_linear(b, random, x, 7); }),
  };
  for (const size_t rank : {1, 2, 3}) {
    const std::string axes = " " + std::to_string(rank) + "-d";
    all.push_back(pool("max pool" + axes, max_pool(rank), rank, 2));
    all.push_back(pool("average pool" + axes, average_pool(rank), rank, 2));
    all.push_back(pool("adaptive pool" + axes, AdaptiveAvgPoolAttributes{Sizes(rank, 3)}, rank, 3));
  }
  append(all, in_both_layouts("mean over positions", [](Builder& b, Random&, int64_t x) {
           return b.float_node(MeanAttributes{{2, 3}, false}, {x}, batched({8}));
         }));
  all.push_back(sample_of("mean over channels", {8, 6}, [](Builder& b, Random&, int64_t x) {
    return b.float_node(MeanAttributes{{1}, true}, {x}, batched({1, 6}));
  }));
  return all;
}

std::vector<Sample> elementwise_samples() {
  using Kind = numerics::ActivationKind;
  std::vector<Sample> all;
  append(all, in_both_layouts("dequantize",
                              [](Builder& b, Random&, int64_t x) { return dequantize(b, x); }));
  append(all, in_both_layouts("affine, activation, quantize", [](Builder& b, Random& r, int64_t x) {
           return b.quantize(b.relu(affine(b, r, dequantize(b, x))), {0.03f, 7});
         }));
  append(all, in_both_layouts("affine to floats", [](Builder& b, Random& r, int64_t x) {
           return affine(b, r, dequantize(b, x));
         }));
  append(all, in_both_layouts("codes to codes", [](Builder& b, Random&, int64_t x) {
           const int64_t v = activate(b, dequantize(b, x), Kind::hardswish, "");
           return b.quantize(v, {0.01f, -100}, numerics::kInt8);
         }));
  append(all, in_both_layouts("prelu", [](Builder& b, Random& r, int64_t x) {
           const std::string slope = b.add_tensor(r.reals({8}, -0.5f, 0.5f));
           return activate(b, dequantize(b, x), Kind::leaky_relu, slope);
         }));
  append(all, in_both_layouts("gate per channel", [](Builder& b, Random& r, int64_t x) {
           const int64_t mean =
               b.float_node(AdaptiveAvgPoolAttributes{{1, 1}}, {x}, batched({8, 1, 1}));
           const ConvShape one{8, 8, 1, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {1, 1}, {0, 0}};
           const int64_t gate =
               b.quantize(add_conv(b, r, b.quantize(mean, {0.02f, 50}), one), {0.004f, 0});
           const int64_t v =
               b.float_node(BinaryAttributes{Binary::mul}, {dequantize(b, gate), dequantize(b, x)},
                            b.value(x).shape);
           return b.quantize(v, {0.02f, 128});
         }));
  append(all, in_both_layouts("lookup", [](Builder& b, Random&, int64_t x) {
           std::vector<int8_t> table(256);
           for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<int8_t>(i * 37);
           const LookupAttributes a{b.add_tensor(tensor_of(TensorType::int8, {256}, table))};
           const int64_t y = b.node(
               a, {x}, {"", ElementType::codes, b.value(x).shape, numerics::kInt8, {0.1f, 3}});
           return b.codes_node(max_pool(2), {y}, batched({8, 3, 2}));
         }));
  append(all, in_both_layouts("lookup to floats", [](Builder& b, Random& r, int64_t x) {
           return b.float_node(LookupAttributes{b.add_tensor(r.reals({256}, -1, 1))}, {x});
         }));
  for (const Sizes& shape : {Sizes{6}, Sizes{4, 6}, Sizes{1, 6}}) {
    all.push_back(sample_of("constant " + std::to_string(shape.size()), {4, 6},
                            [&](Builder& b, Random& r, int64_t x) {
                              Shape sizes;
                              for (const int64_t size : shape) sizes.push_back({0, size});
                              const ConstantAttributes a{b.add_tensor(r.reals(shape, -1, 1))};
                              const int64_t c = b.float_node(a, {}, sizes);
                              return b.float_node(BinaryAttributes{Binary::sub},
                                                  {c, dequantize(b, x)}, b.value(x).shape);
                            }));
  }
  all.push_back(sample_of("operands that both repeat", {4, 1}, [](Builder& b, Random&, int64_t x) {
    const int64_t turned = b.codes_node(PermuteAttributes{{0, 2, 1}}, {x}, batched({1, 4}));
    return b.float_node(BinaryAttributes{}, {dequantize(b, x), dequantize(b, turned)},
                        batched({4, 4}));
  }));
  return all;
}

std::vector<Sample> layout_samples() {
  std::vector<Sample> all;
  const auto add = [&](const std::string& name, const Attributes& a, const Sizes& result) {
    append(all, in_both_layouts(name, [&](Builder& b, Random&, int64_t x) {
             return b.codes_node(a, {x}, batched(result));
           }));
  };
  append(all, in_both_layouts("concat", [](Builder& b, Random& r, int64_t x) {
           const int64_t y = convolved(b, r, x, 3);
           const int64_t same = b.quantize(dequantize(b, y), {0.02f, 120});
           return b.codes_node(ConcatAttributes{1}, {x, same, x}, batched({19, 6, 5}));
         }));
  add("pad", PadAttributes{{0, 1, 0, 2}, {0, 0, 3, 1}, 9}, {9, 9, 8});
  add("slice of channels", SliceAttributes{1, {0, 4}, {0, 8}, 1}, {4, 6, 5});
  add("slice with a step", SliceAttributes{3, {0, 1}, {0, 5}, 2}, {8, 6, 2});
  add("upsample", UpsampleNearestAttributes{{2, 3}}, {8, 12, 15});
  add("upsample a row", UpsampleNearestAttributes{{2}}, {8, 6, 10});
  add("reshape", ReshapeAttributes{batched({8, 30})}, {8, 30});
  add("permute", PermuteAttributes{{0, 2, 3, 1}}, {6, 5, 8});
  append(all, in_both_layouts("channel shuffle", [](Builder& b, Random& r, int64_t x) {
           const Shape split = batched({2, 4, 6, 5}), turned = batched({4, 2, 6, 5});
           const int64_t y = b.codes_node(ReshapeAttributes{split}, {x}, split);
           const int64_t z = b.codes_node(PermuteAttributes{{0, 2, 1, 3, 4}}, {y}, turned);
           const Shape whole = b.value(x).shape;
           return convolved(b, r, b.codes_node(ReshapeAttributes{whole}, {z}, whole), 4);
         }));
  return all;
}

std::vector<Sample> network_samples() {
  std::vector<Sample> all;
  all.push_back(sample_of("dense", {3, 40, 40}, [](Builder& b, Random& r, int64_t x) {
    int64_t features = convolved(b, r, x, 24);
    for (int64_t layer = 0; layer < 2; ++layer) {
      const int64_t v = b.relu(affine(b, r, dequantize(b, features)));
      const int64_t more = convolved(b, r, b.quantize(v, {0.02f, 0}), 8);
      Shape joined = b.value(features).shape;
      joined[1].constant += 8;
      features = b.codes_node(ConcatAttributes{1}, {features, more}, joined);
    }
    return features;
  }));
  return all;
}

std::vector<Sample> all_samples() {
  std::vector<Sample> all = layer_samples();
  append(all, elementwise_samples());
  append(all, layout_samples());
  append(all, network_samples());
  return all;
}

std::vector<Tensor> random_inputs(const Graph& graph, int64_t batch) {
  std::vector<Tensor> inputs;
  for (const int64_t input : graph.inputs) {
    Sizes shape;
    for (const Affine& size : graph.values[static_cast<size_t>(input)].shape) {
      shape.push_back(size.at(batch));
    }
    inputs.push_back(Random(static_cast<uint32_t>(batch)).reals(shape, -2, 2));
  }
  return inputs;
}

}  // namespace qat::runtime::testing
