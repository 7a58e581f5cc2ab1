// Operators on single elements, with the numbers worked out by hand.

#include <limits>

#include "runtime/builder.h"

namespace qat::runtime::testing {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Runs both executors, expects the same bits, and returns the output.
Tensor run(const Builder& b, const std::vector<Tensor>& inputs) {
  const Tensor reference = make_reference_executor(b.model)->run(inputs)[0];
  const Tensor fast = make_fast_executor(b.model)->run(inputs)[0];
  EXPECT_EQ(reference.shape, fast.shape);
  EXPECT_EQ(reference.bytes, fast.bytes);
  return reference;
}

TEST(Quantize, TiesClipsAndSpecials) {
  Builder b;
  const int64_t x = b.input(ElementType::float32, batched({8}));
  b.output(b.quantize(x, {0.5f, 10}));
  // x * 2 + 10: 10.5 -> 10 and 11.5 -> 12 (ties to even), 265 -> 255, -90 -> 0.
  const auto out =
      run(b, {floats({1, 8}, {0.25f, 0.75f, 127.5f, -50.0f, kNan, kInf, -kInf, -1.0f})});
  EXPECT_EQ(elements<uint8_t>(out), (std::vector<uint8_t>{10, 12, 255, 0, 10, 255, 0, 8}));
}

TEST(Quantize, SignedNarrow) {
  Builder b;
  const int64_t x = b.input(ElementType::float32, batched({4}));
  b.output(b.quantize(x, {0.5f, 0}, numerics::kInt8Narrow));
  const auto out = run(b, {floats({1, 4}, {-64.0f, 1.25f, -1.25f, 100.0f})});
  EXPECT_EQ(elements<int8_t>(out), (std::vector<int8_t>{-127, 2, -2, 127}));
}

TEST(Quantize, FourBits) {
  Builder b;
  const int64_t x = b.input(ElementType::float32, batched({3}));
  b.output(b.quantize(x, {1.0f, 3}, {4, false, false}));
  const auto out = run(b, {floats({1, 3}, {-4.0f, 2.0f, 20.0f})});
  EXPECT_EQ(elements<uint8_t>(out), (std::vector<uint8_t>{0, 5, 15}));
}

TEST(Dequantize, CentredTimesScale) {
  Builder b;
  const int64_t x = b.codes_input(batched({3}), {0.5f, 10});
  b.output(b.float_node(DequantizeAttributes{}, {x}));
  const auto out = run(b, {floats({1, 3}, {-5.0f, 0.0f, 122.5f})});
  EXPECT_EQ(elements<float>(out), (std::vector<float>{-5.0f, 0.0f, 122.5f}));
}

TEST(Input, CodesAreQuantizedFromFloats) {
  Builder b;
  const int64_t x = b.input(ElementType::codes, batched({2}));
  b.model.graph.values[0].qparams = {2.0f, 1};
  b.model.graph.values[0].format = numerics::kUint8;
  b.output(x);
  EXPECT_EQ(elements<uint8_t>(run(b, {floats({1, 2}, {4.0f, 10.0f})})),
            (std::vector<uint8_t>{3, 6}));
}

TEST(Lookup, IndexCountsFromTheLowestCode) {
  Builder b;
  const int64_t x = b.codes_input(batched({3}), {1.0f, 0}, {2, true, false});  // -2 .. 1
  LookupAttributes lookup{b.add_tensor(floats({4}, {10.0f, 20.0f, 30.0f, 40.0f}))};
  b.output(b.float_node(lookup, {x}));
  const auto out = run(b, {floats({1, 3}, {-2.0f, 0.0f, 1.0f})});
  EXPECT_EQ(elements<float>(out), (std::vector<float>{10.0f, 30.0f, 40.0f}));
}

TEST(Lookup, CodesToCodes) {
  Builder b;
  const int64_t x = b.codes_input(batched({3}), {1.0f, 0}, {2, false, false});
  const auto table = tensor_of<int8_t>(TensorType::int8, {4}, {-1, -2, 5, 7});
  LookupAttributes lookup{b.add_tensor(table)};
  b.output(
      b.node(lookup, {x}, {"", ElementType::codes, b.value(x).shape, numerics::kInt8, {1.0f, 0}}));
  const auto out = run(b, {floats({1, 3}, {3.0f, 0.0f, 2.0f})});
  EXPECT_EQ(elements<int8_t>(out), (std::vector<int8_t>{7, -1, 5}));
}

using numerics::ActivationKind;

std::vector<float> activated(numerics::Activation activation, const std::vector<float>& x) {
  Builder b;
  const auto n = static_cast<int64_t>(x.size());
  const int64_t in = b.input(ElementType::float32, batched({n}));
  b.output(b.float_node(ActivationAttributes{activation, ""}, {in}));
  return elements<float>(run(b, {floats({1, n}, x)}));
}

TEST(Activation, Relu) {
  EXPECT_EQ(activated({ActivationKind::relu, 0, 0}, {-2, 0, 3}), (std::vector<float>{0, 0, 3}));
}

TEST(Activation, Clamp) {
  EXPECT_EQ(activated({ActivationKind::clamp, -1, 6}, {-2, 0.5f, 7}),
            (std::vector<float>{-1, 0.5f, 6}));
}

TEST(Activation, LeakyRelu) {
  EXPECT_EQ(activated({ActivationKind::leaky_relu, 0.25f, 0}, {-2, 0.5f}),
            (std::vector<float>{-0.5f, 0.5f}));
}

TEST(Activation, Hardswish) {  // -1 * 2 / 6 with 1/6 rounded to float
  EXPECT_EQ(activated({ActivationKind::hardswish, 0, 0}, {-4, -1, 3}),
            (std::vector<float>{0, -2 * 0x1.555556p-3f, 18 * 0x1.555556p-3f}));
}

TEST(Activation, Hardsigmoid) {
  EXPECT_EQ(activated({ActivationKind::hardsigmoid, 0, 0}, {-4, 0, 9}),
            (std::vector<float>{0, 3 * 0x1.555556p-3f, 6 * 0x1.555556p-3f}));
}

TEST(Activation, SlopePerChannel) {
  Builder b;
  const int64_t x = b.input(ElementType::float32, batched({2, 2}));
  const std::string slope = b.add_tensor(floats({2}, {0.5f, 0.25f}));
  b.output(b.float_node(ActivationAttributes{{ActivationKind::leaky_relu, 0, 0}, slope}, {x}));
  EXPECT_EQ(elements<float>(run(b, {floats({1, 2, 2}, {-4, 4, -4, 8})})),
            (std::vector<float>{-2, 4, -1, 8}));
}

TEST(Affine, ChannelsAreAxisOne) {
  Builder b;
  const int64_t x = b.input(ElementType::float32, batched({2, 2}));
  AffineAttributes a{b.add_tensor(floats({2}, {2, 3})), b.add_tensor(floats({2}, {1, -1}))};
  b.output(b.float_node(a, {x}));
  EXPECT_EQ(elements<float>(run(b, {floats({1, 2, 2}, {1, 2, 3, 4})})),
            (std::vector<float>{3, 5, 8, 11}));
}

TEST(Affine, TwoRoundings) {
  // 3 * (1 + 2^-23) = 3 + 3 * 2^-23 rounds to 3 + 2^-21 (even); minus 3 leaves 2^-21, a fused
  // multiply-add would leave 3 * 2^-23.
  Builder b;
  const int64_t x = b.input(ElementType::float32, batched({1}));
  AffineAttributes a{b.add_tensor(floats({1}, {0x1.000002p0f})),
                     b.add_tensor(floats({1}, {-3.0f}))};
  b.output(b.float_node(a, {x}));
  EXPECT_EQ(elements<float>(run(b, {floats({1, 1}, {3.0f})})), (std::vector<float>{0x1p-21f}));
}

std::vector<float> combined(Binary op, Sizes sa, Sizes sb, const std::vector<float>& a,
                            const std::vector<float>& b_elements, Sizes result) {
  Builder b;
  const auto fixed = [](const Sizes& sizes) {
    Shape shape;
    for (const int64_t size : sizes) shape.push_back({0, size});
    return shape;
  };
  const int64_t x = b.input(ElementType::float32, fixed(sa));
  const int64_t y = b.input(ElementType::float32, fixed(sb), "y");
  b.output(b.float_node(BinaryAttributes{op}, {x, y}, fixed(result)));
  return elements<float>(run(b, {floats(sa, a), floats(sb, b_elements)}));
}

TEST(Binary, SameShape) {
  EXPECT_EQ(combined(Binary::add, {2}, {2}, {1, 2}, {10, 20}, {2}), (std::vector<float>{11, 22}));
  EXPECT_EQ(combined(Binary::sub, {2}, {2}, {1, 2}, {10, 20}, {2}), (std::vector<float>{-9, -18}));
  EXPECT_EQ(combined(Binary::mul, {2}, {2}, {1, 2}, {10, 20}, {2}), (std::vector<float>{10, 40}));
}

TEST(Binary, Broadcasts) {
  EXPECT_EQ(combined(Binary::sub, {2, 1}, {3}, {10, 20}, {1, 2, 3}, {2, 3}),
            (std::vector<float>{9, 8, 7, 19, 18, 17}));
  EXPECT_EQ(combined(Binary::mul, {1, 2, 1, 1}, {1, 2, 1, 2}, {2, 3}, {1, 2, 3, 4}, {1, 2, 1, 2}),
            (std::vector<float>{2, 4, 9, 12}));
  EXPECT_EQ(combined(Binary::add, {}, {2}, {1}, {5, 6}, {2}), (std::vector<float>{6, 7}));
}

TEST(Linear, TwoByThree) {
  Builder b;
  Random random(0);
  const int64_t x = b.codes_input(batched({3}), {1.0f, 1});
  b.output(add_linear(b, random, x, 2));
  b.model.tensors["t0"] = tensor_of<int8_t>(TensorType::int8, {2, 3}, {1, -2, 3, 4, 5, -128});
  b.model.tensors["t1"] = floats({2}, {0.5f, -2.0f});
  b.model.tensors["t2"] = floats({2}, {1.0f, 0.25f});
  // Centred inputs 1, 2, 3: 1 - 4 + 9 = 6 and 4 + 10 - 384 = -370.
  EXPECT_EQ(elements<float>(run(b, {floats({1, 3}, {1, 2, 3})})),
            (std::vector<float>{4.0f, 740.25f}));
}

TEST(Linear, AccumulatorsUpTo31Bits) {
  // 255 * 128 * 65000 = 2121600000 < 2^31, although no partial sum fits 24 bits.
  Builder b;
  Random random(0);
  const int64_t inputs = 65000;
  const int64_t x = b.codes_input(batched({inputs}), {1.0f, 0});
  b.output(add_linear(b, random, x, 1));
  const std::vector<int8_t> weight(static_cast<size_t>(inputs), -128);
  b.model.tensors["t0"] = tensor_of(TensorType::int8, {1, inputs}, weight);
  b.model.tensors["t1"] = floats({1}, {1.0f});
  b.model.tensors["t2"] = floats({1}, {0.0f});
  const std::vector<float> full(static_cast<size_t>(inputs), 255.0f);
  EXPECT_EQ(elements<float>(run(b, {floats({1, inputs}, full)})),
            (std::vector<float>{-2121600000.0f}));
}

}  // namespace
}  // namespace qat::runtime::testing
