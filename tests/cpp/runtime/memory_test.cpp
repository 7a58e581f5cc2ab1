// Planned memory, parts of a batch, and calls that allocate nothing.

#include "runtime/arena.h"
#include "runtime/compare.h"
#include "runtime/count_allocations.h"
#include "runtime/separable.h"

namespace qat::runtime::testing {
namespace {

TEST(Arena, BuffersThatAreAliveTogetherDoNotOverlap) {
  Random random(1);
  for (int round = 0; round < 200; ++round) {
    std::vector<Lifetime> buffers;
    for (int64_t i = random.between(1, 30); i > 0; --i) {
      const int64_t first = random.between(0, 20);
      buffers.push_back(
          {static_cast<size_t>(random.between(0, 500)), first, first + random.between(0, 5)});
    }
    const Arena arena = place(buffers);
    for (size_t a = 0; a < buffers.size(); ++a) {
      EXPECT_EQ(arena.offsets[a] % 64, 0u);
      EXPECT_LE(arena.offsets[a] + buffers[a].bytes, arena.bytes);
      for (size_t b = 0; b < a; ++b) {
        const bool together =
            buffers[a].first <= buffers[b].last && buffers[b].first <= buffers[a].last;
        const bool apart = arena.offsets[a] + buffers[a].bytes <= arena.offsets[b] ||
                           arena.offsets[b] + buffers[b].bytes <= arena.offsets[a];
        const bool empty = buffers[a].bytes == 0 || buffers[b].bytes == 0;
        EXPECT_TRUE(!together || apart || empty) << a << " " << b;
      }
    }
  }
}

TEST(Arena, SequencesReuseTwoBuffers) {
  std::vector<Lifetime> buffers;
  for (int64_t i = 0; i < 10; ++i) buffers.push_back({1024, i, i + 1});
  EXPECT_EQ(place(buffers).bytes, 2048u);
}

Builder residual_net() {
  Builder b;
  Random random(2);
  const int64_t x = b.codes_input(batched({3, 16, 16}), {0.02f, 128});
  const ConvShape first{3, 40, 1, {16, 16}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {0, 0}};
  const int64_t q = b.quantize(b.relu(add_conv(b, random, x, first)), {0.02f, 0});
  const ConvShape depthwise{40, 40, 40, {16, 16}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {0, 0}};
  const int64_t v = add_conv(b, random, q, depthwise);
  const int64_t sum =
      b.float_node(BinaryAttributes{}, {v, b.float_node(DequantizeAttributes{}, {q})});
  const int64_t pooled = b.codes_node(MaxPoolAttributes{{2, 2}, {2, 2}, {0, 0}, {1, 1}, false},
                                      {b.quantize(sum, {0.02f, 9})}, batched({40, 8, 8}));
  const int64_t mean =
      b.float_node(AdaptiveAvgPoolAttributes{{1, 1}}, {pooled}, batched({40, 1, 1}));
  const int64_t flat =
      b.codes_node(ReshapeAttributes{batched({40})}, {b.quantize(mean, {0.02f, 9})}, batched({40}));
  b.output(add_linear(b, random, flat, 10));
  return b;
}

TEST(FastExecutor, AllocatesNothingAfterTheFirstCall) {
  const Builder b = residual_net();
  const auto executor =
      make_fast_executor(b.model, {1, nullptr}, kernels::u8s8::best_instruction_set());
  const Tensor input = Random(1).reals({3, 3, 16, 16}, -2, 2);
  std::vector<float> output(30);
  const void* inputs[] = {input.bytes.data()};
  void* outputs[] = {output.data()};
  executor->run_on(3, inputs, outputs, 1);
  const int64_t before = allocations();
  executor->run_on(3, inputs, outputs, 1);
  EXPECT_EQ(allocations() - before, 0);
}

TEST(FastExecutor, PartsOfABatchGiveTheBytesOfTheWhole) {
  // 96 KiB of activations per image: batches of more than about ten images are run in parts.
  const Builder b = residual_net();
  EXPECT_TRUE(is_separable(b.model.graph));
  for (const int64_t batch : {1, 2, 45, 61}) {
    for (const int threads : {1, 2, 3}) {
      SCOPED_TRACE(std::to_string(batch) + " images, " + std::to_string(threads) + " threads");
      expect_equal(b.model, {Random(7).reals({batch, 3, 16, 16}, -2, 2)}, threads);
    }
  }
}

TEST(Separable, NodesThatMixSamplesForbidParts) {
  const auto separable = [](const Attributes& attributes, const Shape& output) {
    Builder b;
    const int64_t x = b.input(ElementType::float32, batched({4, 6}));
    const int64_t y = b.float_node(attributes, {x}, output);
    b.output(y);
    return is_separable(b.model.graph);
  };
  EXPECT_TRUE(separable(PermuteAttributes{{0, 2, 1}}, batched({6, 4})));
  EXPECT_FALSE(separable(PermuteAttributes{{1, 0, 2}}, {{0, 4}, {1, 0}, {0, 6}}));
  EXPECT_TRUE(separable(SliceAttributes{1, {0, 0}, {0, 2}, 1}, batched({2, 6})));
  EXPECT_FALSE(separable(SliceAttributes{0, {0, 0}, {1, 0}, 1}, batched({4, 6})));
  EXPECT_FALSE(separable(PadAttributes{{1, 0, 0}, {0, 0, 0}, 0}, {{1, 1}, {0, 4}, {0, 6}}));
  EXPECT_FALSE(separable(ReshapeAttributes{{{4, 0}, {0, 6}}}, {{4, 0}, {0, 6}}));
  EXPECT_TRUE(separable(ReshapeAttributes{batched({24})}, batched({24})));
  EXPECT_FALSE(separable(AtenAttributes{"aten::erf", {}}, batched({4, 6})));
}

TEST(Separable, AConstantMayNotReachTheBatchAxis) {
  const auto with_constant = [](const Sizes& shape) {
    Builder b;
    Random random(1);
    const int64_t x = b.input(ElementType::float32, batched({4}));
    Shape sizes;
    for (const int64_t size : shape) sizes.push_back({0, size});
    const int64_t c =
        b.float_node(ConstantAttributes{b.add_tensor(random.reals(shape, 0, 1))}, {}, sizes);
    b.output(b.float_node(BinaryAttributes{}, {x, c}, batched({4})));
    return is_separable(b.model.graph);
  };
  EXPECT_TRUE(with_constant({4}));
  EXPECT_TRUE(with_constant({1, 4}));
  EXPECT_FALSE(with_constant({3, 4}));
}

}  // namespace
}  // namespace qat::runtime::testing
