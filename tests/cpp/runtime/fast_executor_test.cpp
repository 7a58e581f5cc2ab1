// The fast executor equals the reference in every bit of every value that it makes.

#include <thread>

#include "runtime/compare.h"

namespace qat::runtime::testing {
namespace {

// Every kernel with every remainder of positions, channels and zero point.
struct ConvCase {
  int64_t channels, outputs, groups;
};

class FastConv : public ::testing::TestWithParam<ConvCase> {};

TEST_P(FastConv, AllPaths) {
  const auto [channels, outputs, groups] = GetParam();
  Random random(7);
  for (const int64_t kernel : {1, 3}) {
    for (const int64_t stride : {1, 2}) {
      for (const int64_t padding : {int64_t{0}, kernel / 2}) {
        for (const int32_t zero_point : {0, 128, 255}) {
          for (const bool is_signed : {false, true}) {
            Builder b;
            const auto format = is_signed ? numerics::kInt8 : numerics::kUint8;
            const numerics::QuantParams params{0.02f, zero_point - (is_signed ? 128 : 0)};
            const int64_t x = b.codes_input(batched({channels, 7, 6}), params, format);
            const ConvShape s{
                channels,           outputs, groups, {7, 6}, {kernel, kernel}, {stride, stride},
                {padding, padding}, {1, 1},  {0, 0}};
            b.output(b.quantize(add_conv(b, random, x, s), {0.02f, 100}));
            b.output(add_conv(b, random, x, s));
            expect_equal(b.model, {random.reals({random.between(1, 5), channels, 7, 6}, -5, 5)});
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, FastConv,
                         ::testing::Values(ConvCase{1, 1, 1}, ConvCase{3, 17, 1},
                                           ConvCase{17, 33, 1}, ConvCase{33, 3, 1},
                                           ConvCase{16, 64, 1}, ConvCase{4, 80, 1},
                                           ConvCase{8, 6, 2}, ConvCase{9, 6, 3},
                                           ConvCase{17, 17, 17}, ConvCase{16, 16, 16},
                                           ConvCase{80, 80, 80}, ConvCase{5, 10, 5}));

TEST(FastExecutor, ExtremeCodesDoNotSaturate) {
  // Every product is 255 * -128 or 255 * 127; vpmaddubsw would clip their pairs.
  for (const int8_t weight : {-128, 127}) {
    Builder b;
    Random random(1);
    const int64_t x = b.codes_input(batched({64, 3, 3}), {1.0f, 0});
    b.output(add_conv(b, random, x, {64, 16, 1, {3, 3}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {0, 0}}));
    Tensor& w = b.model.tensors["t0"];
    std::fill_n(w.data<int8_t>(), w.numel(), weight);
    expect_equal(b.model, {random.reals({1, 64, 3, 3}, 255, 256)});
  }
}

TEST(FastExecutor, IntermediateThatIsAnOutputIsNotFusedAway) {
  Builder b;
  Random random(3);
  const int64_t x = b.codes_input(batched({4, 5, 5}), {0.02f, 128});
  const ConvShape s{4, 8, 1, {5, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {0, 0}};
  const int64_t v = add_conv(b, random, x, s);
  const int64_t r = b.relu(v);
  b.output(b.quantize(r, {0.02f, 0}));
  b.output(v);
  b.output(r);
  expect_equal(b.model, {random.reals({2, 4, 5, 5}, -2, 2)});
}

TEST(FastExecutor, FusedValuesAreLeftEmptyInRunAll) {
  Builder b;
  Random random(3);
  const int64_t x = b.codes_input(batched({4, 5, 5}), {0.02f, 128});
  const ConvShape s{4, 8, 1, {5, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {0, 0}};
  const int64_t v = add_conv(b, random, x, s);
  const int64_t q = b.quantize(b.relu(v), {0.02f, 0});
  b.output(q);
  const auto values = make_fast_executor(b.model)->run_all({random.reals({2, 4, 5, 5}, -2, 2)});
  EXPECT_TRUE(values[static_cast<size_t>(v)].bytes.empty());
  EXPECT_EQ(values[static_cast<size_t>(q)].numel(), 2 * 8 * 5 * 5);
}

TEST(FastExecutor, LinearOnSequences) {
  Builder b;
  Random random(5);
  const int64_t x = b.codes_input(batched({7, 19}), {0.02f, 128});
  const int64_t v = add_linear(b, random, x, 33);
  const int64_t q = b.quantize(b.relu(v), {0.02f, 128});
  const int64_t sum = b.float_node(BinaryAttributes{}, {add_linear(b, random, q, 19),
                                                        b.float_node(DequantizeAttributes{}, {x})});
  b.output(b.quantize(sum, {0.03f, 90}));
  expect_equal(b.model, {random.reals({3, 7, 19}, -2, 2)});
}

TEST(FastExecutor, EmptyBatch) {
  Builder b;
  Random random(3);
  const int64_t x = b.codes_input(batched({4, 5, 5}), {0.02f, 128});
  const ConvShape s{4, 8, 1, {5, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {0, 0}};
  b.output(b.quantize(add_conv(b, random, x, s), {0.02f, 0}));
  expect_equal(b.model, {random.reals({0, 4, 5, 5}, -2, 2)});
}

TEST(FastExecutor, ConcurrentCalls) {
  Builder b;
  Random random(9);
  const int64_t x = b.codes_input(batched({3, 12, 12}), {0.02f, 128});
  const ConvShape s{3, 32, 1, {12, 12}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {0, 0}};
  const int64_t q = b.quantize(b.relu(add_conv(b, random, x, s)), {0.02f, 0});
  b.output(add_conv(b, random, q, {32, 8, 1, {12, 12}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {0, 0}}));
  const auto executor =
      make_fast_executor(b.model, {.threads = 2, .aten = {}, .exact_threads = true});
  std::vector<Tensor> inputs, expected;
  for (int64_t i = 0; i < 4; ++i) {
    inputs.push_back(random.reals({i + 1, 3, 12, 12}, -2, 2));
    expected.push_back(make_reference_executor(b.model)->run({inputs.back()})[0]);
  }
  std::vector<int> wrong(inputs.size(), 0);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < inputs.size(); ++i) {
    threads.emplace_back([&, i] {
      for (int k = 0; k < 20; ++k) {
        wrong[i] += executor->run({inputs[i]})[0].bytes != expected[i].bytes;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(inputs.size(), 0));
}

TEST(FastExecutor, PathsThatRan) {  // so that a log shows which kernels this machine covered
  std::string names;
  for (const InstructionSet set : instruction_sets()) names += std::string(to_string(set)) + " ";
  RecordProperty("instruction_sets", names);
  EXPECT_EQ(kernels::u8s8::best_instruction_set(), instruction_sets().front());
  EXPECT_EQ(instruction_sets().back(), InstructionSet::portable);
}

}  // namespace
}  // namespace qat::runtime::testing
