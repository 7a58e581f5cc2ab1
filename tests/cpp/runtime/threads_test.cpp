// The executor with several threads: the bits of one, whatever the number.

#include <thread>

#include "kernels/cpu/conv_u8s8.h"
#include "runtime/compare.h"
#include "runtime/samples.h"

namespace qat::runtime::testing {
namespace {

namespace u8s8 = kernels::u8s8;

constexpr int kThreadCounts[] = {1, 2, 3, 4, 8};

TEST(Threads, EveryOperatorGivesTheSameBits) {
  for (const Sample& sample : all_samples()) {
    for (const int64_t batch : {1, 3}) {
      const std::vector<Tensor> inputs = random_inputs(sample.model.graph, batch);
      const auto expected = make_reference_executor(sample.model, {1, nullptr})->run(inputs);
      for (const int threads : kThreadCounts) {
        SCOPED_TRACE(sample.name + ", " + std::to_string(threads) + " threads");
        const auto fast = make_fast_executor(sample.model, {threads, nullptr, true});
        const auto got = fast->run(inputs);
        for (size_t i = 0; i < expected.size(); ++i) {
          EXPECT_TRUE(got[i].bytes == expected[i].bytes) << "output " << i;
        }
      }
    }
  }
}

// A layer of each kind that is split: by rows, by positions and by channels.
Builder large_layers() {
  Builder b;
  Random random(5);
  const int64_t x = b.codes_input(batched({3, 56, 56}), {0.02f, 128});
  const auto layer = [&](int64_t v, ConvShape s) {
    s.padding = {s.kernel[0] / 2, s.kernel[1] / 2};
    s.dilation = {1, 1};
    s.output_padding = {0, 0};
    return b.quantize(b.relu(add_conv(b, random, v, s)), {0.02f, 3});
  };
  const int64_t rows = layer(x, {3, 64, 1, {56, 56}, {3, 3}, {1, 1}, {}, {}, {}});
  const int64_t deep = layer(rows, {64, 64, 64, {56, 56}, {3, 3}, {2, 2}, {}, {}, {}});
  const int64_t positions = layer(deep, {64, 96, 1, {28, 28}, {1, 1}, {1, 1}, {}, {}, {}});
  const int64_t small = layer(positions, {96, 64, 1, {28, 28}, {1, 1}, {4, 4}, {}, {}, {}});
  const int64_t channels = layer(small, {64, 256, 1, {7, 7}, {3, 3}, {1, 1}, {}, {}, {}});
  const int64_t flat =
      b.codes_node(ReshapeAttributes{batched({256 * 49})}, {channels}, batched({256 * 49}));
  b.output(add_linear(b, random, flat, 260));
  return b;
}

TEST(Threads, LargeLayersGiveTheSameBits) {
  const Builder b = large_layers();
  const std::vector<Tensor> inputs{Random(2).reals({1, 3, 56, 56}, -2, 2)};
  const auto expected = make_reference_executor(b.model, {2, nullptr})->run(inputs)[0];
  for (const InstructionSet set : instruction_sets()) {
    for (const int threads : kThreadCounts) {
      SCOPED_TRACE(std::string(to_string(set)) + ", " + std::to_string(threads) + " threads");
      const auto fast = make_fast_executor(b.model, {threads, nullptr, true}, set);
      for (int run = 0; run < 3; ++run) EXPECT_TRUE(fast->run(inputs)[0].bytes == expected.bytes);
    }
  }
}

u8s8::ConvLayer layer_of(int64_t inputs, int64_t outputs, int64_t kernel, int64_t groups = 1) {
  u8s8::ConvLayer layer;
  layer.groups = groups;
  layer.inputs = inputs;
  layer.outputs = outputs;
  layer.kernel_h = layer.kernel_w = kernel;
  layer.padding_h = layer.padding_w = kernel / 2;
  const std::vector<int8_t> weight(
      static_cast<size_t>(groups * inputs * outputs * kernel * kernel));
  u8s8::pack_layer(layer, weight.data(), u8s8::best_instruction_set());
  return layer;
}

u8s8::ConvTasks tasks_of(const u8s8::ConvLayer& layer, int64_t size, int threads,
                         int64_t batch = 1) {
  return u8s8::split_conv(layer, {batch, size, size, size, size}, threads);
}

TEST(SplitConv, OneThreadHasOneTaskForEachBandThatFitsTheCache) {
  EXPECT_EQ(tasks_of(layer_of(64, 64, 3), 14, 1).count, 1);
  EXPECT_GT(tasks_of(layer_of(64, 64, 3), 200, 1).count, 1);
}

TEST(SplitConv, LittleWorkIsOneTask) {
  EXPECT_EQ(tasks_of(layer_of(16, 16, 1), 7, 2).count, 1);
  EXPECT_EQ(tasks_of(layer_of(1, 1, 3, 64), 7, 2).count, 1);
}

TEST(SplitConv, MoreWeightsThanInputAreSplitByChannels) {
  const u8s8::ConvTasks late = tasks_of(layer_of(256, 256, 3), 7, 2);
  EXPECT_EQ(late.parts, 2);
  EXPECT_EQ(late.count, 2);
  EXPECT_EQ(tasks_of(layer_of(256, 1024, 1), 1, 8).count, 1);
  const u8s8::ConvTasks few = tasks_of(layer_of(1024, 1024, 1), 1, 8);
  EXPECT_EQ(few.parts, 2);  // 2^20 multiply-accumulates
  EXPECT_EQ(few.count, 2);
  const u8s8::ConvTasks early = tasks_of(layer_of(64, 64, 3), 56, 2);
  EXPECT_EQ(early.parts, 1);
  EXPECT_EQ(early.count, 4);
}

TEST(SplitConv, PointwiseLayersAreSplitByPositions) {
  const u8s8::ConvTasks tasks = tasks_of(layer_of(64, 192, 1), 14, 3);
  EXPECT_EQ(tasks.sizes.output_h, 14 * 14);
  EXPECT_EQ(tasks.count, 3);
}

TEST(SplitConv, MoreThreadsNeedNoMoreMemory) {
  for (const int64_t kernel : {1, 3}) {
    for (const int64_t outputs : {16, 64, 512}) {
      const u8s8::ConvLayer layer = layer_of(32, outputs, kernel);
      for (const int64_t size : {7, 30, 100}) {
        for (const int threads : {2, 3, 8}) {
          EXPECT_LE(tasks_of(layer, size, threads).memory, tasks_of(layer, size, 1).memory);
        }
      }
    }
  }
}

TEST(Threads, AnErrorOfANodeReachesTheCaller) {
  Builder b;
  Random random(4);
  const int64_t x = b.codes_input(batched({3, 8, 8}), {0.02f, 128});
  const ConvShape s{3, 8, 1, {8, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {0, 0}};
  const int64_t v = add_conv(b, random, x, s);
  b.output(b.float_node(AtenAttributes{"aten::erf", {{InputArgument{0}}}}, {v}));
  int calls = 0;
  const AtenEvaluator evaluator = [&](const AtenAttributes&,
                                      const std::vector<const Tensor*>& inputs, int64_t) {
    if (++calls == 2) throw Error("of ATen");
    return std::vector<Tensor>{*inputs[0]};
  };
  const auto fast = make_fast_executor(b.model, {3, evaluator, /*exact_threads=*/true});
  const std::vector<Tensor> inputs{random.reals({2, 3, 8, 8}, -1, 1)};
  const auto first = fast->run(inputs);
  EXPECT_EQ(error_of([&] { fast->run(inputs); }), "of ATen");
  EXPECT_TRUE(fast->run(inputs)[0].bytes == first[0].bytes);
}

TEST(Threads, CallersWithTeamsOfTheirOwn) {
  const Builder b = large_layers();
  const std::vector<Tensor> inputs{Random(2).reals({1, 3, 56, 56}, -2, 2)};
  const auto expected = make_reference_executor(b.model, {2, nullptr})->run(inputs)[0];
  const auto executor = make_fast_executor(b.model, {3, nullptr, /*exact_threads=*/true});
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> callers;
  for (int& own : wrong) {
    callers.emplace_back([&] {
      for (int i = 0; i < 10; ++i) own += executor->run(inputs)[0].bytes != expected.bytes;
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

}  // namespace
}  // namespace qat::runtime::testing
