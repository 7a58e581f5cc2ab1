// Operators that move elements, worked out by hand, on every type that passes through them.

#include "runtime/builder.h"

namespace qat::runtime::testing {
namespace {

Tensor run(const Builder& b, const std::vector<Tensor>& inputs) {
  const Tensor reference = make_reference_executor(b.model)->run(inputs)[0];
  const Tensor fast = make_fast_executor(b.model)->run(inputs)[0];
  EXPECT_EQ(reference.shape, fast.shape);
  EXPECT_EQ(reference.bytes, fast.bytes);
  return reference;
}

// [1, 2, 3] holding 1 to 6, through one operator, as float32 and as int64.
std::vector<int64_t> moved(const Attributes& attributes, const Sizes& result) {
  const Sizes shape{1, 2, 3};
  std::vector<int64_t> integers;
  for (const ElementType type : {ElementType::float32, ElementType::int64}) {
    Builder b;
    const int64_t x = b.input(type, batched({2, 3}));
    Shape sizes;
    for (const int64_t size : result) sizes.push_back({0, size});
    b.output(b.node(attributes, {x}, {"", type, sizes, {}, {}}));
    if (type == ElementType::float32) {
      const auto out = elements<float>(run(b, {floats(shape, {1, 2, 3, 4, 5, 6})}));
      integers.assign(out.begin(), out.end());
    } else {
      const auto input = tensor_of<int64_t>(TensorType::int64, shape, {1, 2, 3, 4, 5, 6});
      EXPECT_EQ(elements<int64_t>(run(b, {input})), integers);
    }
  }
  return integers;
}

TEST(Reshape, KeepsOrder) {
  EXPECT_EQ(moved(ReshapeAttributes{{{0, 3}, {0, 2}}}, {3, 2}),
            (std::vector<int64_t>{1, 2, 3, 4, 5, 6}));
}

TEST(Permute, Transposes) {
  EXPECT_EQ(moved(PermuteAttributes{{2, 0, 1}}, {3, 1, 2}),
            (std::vector<int64_t>{1, 4, 2, 5, 3, 6}));
}

TEST(Slice, StartStopStep) {
  EXPECT_EQ(moved(SliceAttributes{2, {0, 0}, {0, 3}, 2}, {1, 2, 2}),
            (std::vector<int64_t>{1, 3, 4, 6}));
  EXPECT_EQ(moved(SliceAttributes{1, {0, 1}, {0, 2}, 1}, {1, 1, 3}),
            (std::vector<int64_t>{4, 5, 6}));
}

TEST(Pad, FloatsAndIntegersGetZero) {
  EXPECT_EQ(moved(PadAttributes{{0, 0, 1}, {0, 1, 0}, 0}, {1, 3, 4}),
            (std::vector<int64_t>{0, 1, 2, 3, 0, 4, 5, 6, 0, 0, 0, 0}));
}

TEST(UpsampleNearest, RepeatsTrailingAxes) {
  EXPECT_EQ(moved(UpsampleNearestAttributes{{2}}, {1, 2, 6}),
            (std::vector<int64_t>{1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6}));
  EXPECT_EQ(moved(UpsampleNearestAttributes{{2, 1}}, {1, 4, 3}),
            (std::vector<int64_t>{1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6}));
}

TEST(Concat, AnyAxis) {
  for (const int64_t axis : {1, 2}) {
    Builder b;
    const int64_t x = b.input(ElementType::boolean, batched({1, 2}));
    const int64_t y = b.input(ElementType::boolean, batched({1, 2}), "y");
    const Sizes result = axis == 1 ? Sizes{2, 2} : Sizes{1, 4};
    b.output(b.node(ConcatAttributes{axis}, {x, y},
                    {"", ElementType::boolean, batched(result), {}, {}}));
    const auto a = tensor_of<uint8_t>(TensorType::boolean, {2, 1, 2}, {1, 0, 0, 0});
    const auto c = tensor_of<uint8_t>(TensorType::boolean, {2, 1, 2}, {0, 1, 1, 1});
    EXPECT_EQ(elements<uint8_t>(run(b, {a, c})), (std::vector<uint8_t>{1, 0, 0, 1, 0, 0, 1, 1}));
  }
}

TEST(Pad, CodesGetTheCode) {
  Builder b;
  const int64_t x = b.codes_input(batched({2}), {1.0f, 0}, numerics::kInt8);
  b.output(b.codes_node(PadAttributes{{0, 1}, {0, 2}, -7}, {x}, batched({5})));
  EXPECT_EQ(elements<int8_t>(run(b, {floats({1, 2}, {3, 4})})),
            (std::vector<int8_t>{-7, 3, 4, -7, -7}));
}

TEST(Slice, BoundsThatFollowTheBatch) {
  Builder b;
  const int64_t x = b.input(ElementType::float32, {{2, 0}, {0, 1}});
  b.output(b.float_node(SliceAttributes{0, {1, 0}, {2, 0}, 1}, {x}, {{1, 0}, {0, 1}}));
  EXPECT_EQ(elements<float>(run(b, {floats({6, 1}, {1, 2, 3, 4, 5, 6})})),
            (std::vector<float>{4, 5, 6}));
}

TEST(Constant, IsTheTensor) {
  Builder b;
  b.input(ElementType::float32, batched({1}));
  const std::string name = b.add_tensor(floats({2}, {5, 6}));
  b.output(b.node(ConstantAttributes{name}, {}, {"", ElementType::float32, {{0, 2}}, {}, {}}));
  EXPECT_EQ(elements<float>(run(b, {floats({1, 1}, {0})})), (std::vector<float>{5, 6}));
}

}  // namespace
}  // namespace qat::runtime::testing
