// The fast executor equals the reference in every bit of every value that it makes, on every
// instruction set that this machine has.

#include "runtime/fast_executor.h"

#include <omp.h>

#include <thread>

#include "runtime/builder.h"

namespace qat::runtime::testing {
namespace {

using kernels::u8s8::InstructionSet;

std::vector<InstructionSet> instruction_sets() {
  std::vector<InstructionSet> sets;
  for (const auto set :
       {InstructionSet::portable, InstructionSet::avx2, InstructionSet::avx512_vnni}) {
    if (kernels::u8s8::is_supported(set)) sets.push_back(set);
  }
  return sets;
}

void expect_equal(const Model& model, const std::vector<Tensor>& inputs, int threads = 2) {
  Options options;
  options.threads = threads;
  const auto reference = make_reference_executor(model, options);
  const auto expected = reference->run_all(inputs);
  const auto outputs = reference->run(inputs);
  for (const InstructionSet set : instruction_sets()) {
    SCOPED_TRACE(to_string(set));
    const auto fast = make_fast_executor(model, options, set);
    const auto got = fast->run(inputs);
    ASSERT_EQ(got.size(), outputs.size());
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].type, outputs[i].type);
      EXPECT_EQ(got[i].shape, outputs[i].shape);
      EXPECT_TRUE(got[i].bytes == outputs[i].bytes) << "output " << i;
    }
    EXPECT_EQ(fast->macs().integer, reference->macs().integer);
    const auto all = fast->run_all(inputs);
    for (size_t i = 0; i < all.size(); ++i) {
      if (all[i].bytes.empty()) continue;  // fused away
      EXPECT_EQ(all[i].shape, expected[i].shape) << "value " << i;
      EXPECT_TRUE(all[i].bytes == expected[i].bytes) << "value " << i;
    }
  }
}

numerics::QuantParams random_params(Random& random, numerics::IntFormat format) {
  if (!format.is_signed) {
    return {random.real(0.01f, 0.05f), random.pick<int32_t>({0, 128, 255, 77})};
  }
  return {random.real(0.01f, 0.05f), random.pick<int32_t>({0, -128, 127, 5})};
}

numerics::IntFormat random_format(Random& random) {
  return random.pick<numerics::IntFormat>(
      {numerics::kUint8, numerics::kUint8, numerics::kInt8, {4, false, false}});
}

int64_t random_quantize(Builder& b, Random& random, int64_t x) {
  numerics::IntFormat format = random_format(random);
  numerics::QuantParams params = random_params(random, format);
  if (format.bits == 4) params = {0.4f, 7};
  return b.quantize(x, params, format);
}

ConvShape random_conv(Random& random, const Shape& input) {
  ConvShape s;
  s.channels = input[1].constant;
  const int64_t kind = random.between(0, 4);
  if (kind == 0) s.groups = s.channels;  // depthwise
  if (kind == 1 && s.channels % 3 == 0) s.groups = 3;
  const int64_t per_group = s.groups == s.channels && random.between(0, 2) > 0
                                ? 1
                                : random.pick<int64_t>({1, 3, 16, 17, 33, 48, 80});
  s.outputs = s.groups * (s.groups > 1 ? std::min<int64_t>(per_group, 5) : per_group);
  s.bias = random.between(0, 3) > 0;
  for (size_t i = 0; i < 2; ++i) {
    s.input.push_back(input[2 + i].constant);
    s.kernel.push_back(std::min(random.between(1, 3), s.input[i]));
    s.dilation.push_back(s.kernel[i] < s.input[i] / 2 ? random.between(1, 2) : 1);
    s.stride.push_back(random.between(1, 2));
    s.padding.push_back(random.between(0, 2));
    s.output_padding.push_back(0);
  }
  return s;
}

int64_t random_activation(Builder& b, Random& random, int64_t x) {
  using K = numerics::ActivationKind;
  const numerics::Activation a = random.pick<numerics::Activation>({{K::relu, 0, 0},
                                                                    {K::clamp, 0, 6},
                                                                    {K::leaky_relu, 0.1f, 0},
                                                                    {K::hardswish, 0, 0},
                                                                    {K::hardsigmoid, 0, 0},
                                                                    {K::none, 0, 0}});
  std::string slope;
  if (a.kind == K::leaky_relu && random.between(0, 1)) {
    slope = b.add_tensor(random.reals({b.value(x).shape[1].constant}, -0.5f, 0.5f));
  }
  return b.float_node(ActivationAttributes{a, slope}, {x});
}

int64_t dequantized(Builder& b, int64_t codes) {
  return b.float_node(DequantizeAttributes{}, {codes});
}

// Grows a graph on 4-d codes; each call adds one random block and returns its codes.
int64_t random_block(Builder& b, Random& random, int64_t x) {
  const Shape shape = b.value(x).shape;
  const int64_t c = shape[1].constant, h = shape[2].constant, w = shape[3].constant;
  switch (random.between(0, 8)) {
    case 0: {  // residual block with the input, either side, add, sub or mul
      ConvShape s{c, c, 1, {h, w}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {0, 0}};
      const int64_t v = add_conv(b, random, x, s);
      const int64_t other = dequantized(b, x);
      const Binary op = random.pick<Binary>({Binary::add, Binary::sub, Binary::mul});
      const bool swap = random.between(0, 1) == 1;
      const int64_t sum =
          b.float_node(BinaryAttributes{op}, swap ? std::vector{other, v} : std::vector{v, other});
      return random_quantize(b, random, random_activation(b, random, sum));
    }
    case 1: {  // two layers meet
      ConvShape s{c, 17, 1, {h, w}, {1, 1}, {1, 1}, {0, 0}, {1, 1}, {0, 0}};
      const int64_t u = add_conv(b, random, x, s);
      const int64_t v = add_conv(b, random, x, s);
      return random_quantize(b, random, b.float_node(BinaryAttributes{}, {u, v}));
    }
    case 2: {
      const MaxPoolAttributes a{{2, 2}, {2, 2}, {1, 1}, {1, 1}, random.between(0, 1) == 1};
      const auto size = [&](int64_t n) {
        return a.ceil_mode ? (n + 1) / 2 + (n % 2 == 0) : n / 2 + 1;
      };
      return b.codes_node(a, {x}, batched({c, size(h), size(w)}));
    }
    case 3: {
      const AvgPoolAttributes a{{3, 3}, {1, 1}, {1, 1}, false, random.between(0, 1) == 1, 0};
      return random_quantize(b, random, b.float_node(a, {x}, shape));
    }
    case 4: {
      const int64_t axis = random.between(1, 3);
      Shape joined = shape;
      joined[static_cast<size_t>(axis)].constant *= 2;
      return b.codes_node(ConcatAttributes{axis}, {x, x}, joined);
    }
    case 5: {
      const PadAttributes a{{0, 0, 1, 2}, {0, 1, 0, 1}, 3};
      return b.codes_node(a, {x}, batched({c + 1, h + 1, w + 3}));
    }
    case 6: {  // squeeze and excite: broadcasting over positions
      const int64_t mean = b.float_node(MeanAttributes{{2, 3}, true}, {x}, batched({c, 1, 1}));
      return random_quantize(
          b, random, b.float_node(BinaryAttributes{Binary::mul}, {dequantized(b, x), mean}, shape));
    }
    case 7: {  // batch norm without a layer
      const AffineAttributes a{b.add_tensor(random.reals({c}, 0.5f, 2)),
                               b.add_tensor(random.reals({c}, -1, 1))};
      return random_quantize(b, random, b.float_node(a, {dequantized(b, x)}));
    }
    default:
      break;
  }
  const int64_t v = add_conv(b, random, x, random_conv(random, shape));
  return random_quantize(b, random, random_activation(b, random, v));
}

TEST(FastExecutor, EqualsTheReferenceOnRandomGraphs) {
  for (uint32_t seed = 0; seed < 120; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    Builder b;
    const Sizes rest{random.pick<int64_t>({1, 3, 16, 17, 32, 33}), random.between(4, 9),
                     random.between(4, 9)};
    const numerics::IntFormat format = random_format(random);
    numerics::QuantParams params = random_params(random, format);
    if (format.bits == 4) params = {0.4f, 7};
    int64_t x = b.codes_input(batched(rest), params, format);
    for (int64_t block = random.between(1, 4); block > 0; --block) x = random_block(b, random, x);
    if (random.between(0, 1)) b.output(x);
    const int64_t c = b.value(x).shape[1].constant;
    int64_t y = b.float_node(MeanAttributes{{2, 3}, false}, {x}, batched({c}));
    y = add_linear(b, random, random_quantize(b, random, y), random.pick<int64_t>({1, 10, 65}));
    b.output(y);
    const int64_t batch = random.between(1, 5);
    Sizes shape{batch};
    shape.insert(shape.end(), rest.begin(), rest.end());
    expect_equal(b.model, {random.reals(shape, -3, 3)}, static_cast<int>(random.between(1, 3)));
    if (::testing::Test::HasFailure()) return;
  }
}

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
  const int64_t q = b.quantize(random_activation(b, random, v), {0.02f, 128});
  const int64_t sum =
      b.float_node(BinaryAttributes{}, {add_linear(b, random, q, 19), dequantized(b, x)});
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
  const auto executor = make_fast_executor(b.model, {.threads = 2, .aten = {}});
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
  EXPECT_EQ(kernels::u8s8::best_instruction_set(), instruction_sets().back());
}

}  // namespace
}  // namespace qat::runtime::testing
