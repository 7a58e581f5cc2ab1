// Convolutions against a slow oracle in int64 and double.

#include "runtime/builder.h"

namespace qat::runtime::testing {
namespace {

// Scatter form, from the definition: every input element is added to every output that it
// reaches. The executors gather, so they share neither loops nor index formulas.
std::vector<int64_t> oracle(const std::vector<int64_t>& centred, int64_t batch, const ConvShape& s,
                            const int8_t* weight) {
  const size_t rank = s.input.size();
  const Sizes out = s.output();
  int64_t in_plane = 1, out_plane = 1, taps = 1;
  for (size_t i = 0; i < rank; ++i) {
    in_plane *= s.input[i];
    out_plane *= out[i];
    taps *= s.kernel[i];
  }
  const int64_t cg = s.channels / s.groups, kg = s.outputs / s.groups;
  std::vector<int64_t> acc(static_cast<size_t>(batch * s.outputs * out_plane), 0);
  for (int64_t at = 0; at < static_cast<int64_t>(centred.size()); ++at) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      int64_t rest_in = at % in_plane, rest_tap = tap, to = 0, scale = 1;
      bool inside = true;
      for (size_t i = rank; i-- > 0;) {
        const int64_t position = rest_in % s.input[i], t = rest_tap % s.kernel[i];
        rest_in /= s.input[i];
        rest_tap /= s.kernel[i];
        int64_t o = 0;
        if (s.transposed) {
          o = position * s.stride[i] - s.padding[i] + t * s.dilation[i];
        } else {
          const int64_t distance = position + s.padding[i] - t * s.dilation[i];
          inside &= distance >= 0 && distance % s.stride[i] == 0;
          o = distance / s.stride[i];
        }
        inside &= o >= 0 && o < out[i];
        to += o * scale;
        scale *= out[i];
      }
      if (!inside) continue;
      const int64_t c = at / in_plane % s.channels, n = at / in_plane / s.channels;
      for (int64_t k = 0; k < kg; ++k) {
        const int64_t channel = c / cg * kg + k;
        const int64_t w =
            s.transposed ? (c * kg + k) * taps + tap : (channel * cg + c % cg) * taps + tap;
        acc[static_cast<size_t>((n * s.outputs + channel) * out_plane + to)] +=
            centred[static_cast<size_t>(at)] * weight[w];
      }
    }
  }
  return acc;
}

// Rule 7 in double: the product of two floats is exact in double, and rounding a sum of two
// floats to double first does not change its float rounding (53 >= 2 * 24 + 2).
float oracle_value(int64_t acc, float multiplier, const float* bias) {
  const auto product = static_cast<float>(static_cast<double>(static_cast<float>(acc)) *
                                          static_cast<double>(multiplier));
  if (bias == nullptr) return product;
  return static_cast<float>(static_cast<double>(product) + static_cast<double>(*bias));
}

void check(const ConvShape& s, numerics::IntFormat format, int32_t zero_point, uint32_t seed) {
  Random random(seed);
  Builder b;
  Sizes shape{s.channels};
  shape.insert(shape.end(), s.input.begin(), s.input.end());
  const int64_t x = b.codes_input(batched(shape), {1.0f, zero_point}, format);
  b.output(add_conv(b, random, x, s));

  const int64_t batch = random.between(1, 3);
  shape.insert(shape.begin(), batch);
  Tensor input = random.reals(shape, 0, 0);
  std::vector<int64_t> centred;
  for (int64_t i = 0; i < input.numel(); ++i) {
    centred.push_back(random.between(format.quant_min(), format.quant_max()) - zero_point);
    input.data<float>()[i] = static_cast<float>(centred.back());
  }
  const auto& a = std::get<ConvAttributes>(b.model.graph.nodes[1].attributes);
  const auto acc = oracle(centred, batch, s, b.model.tensors[a.weight].data<int8_t>());
  const float* multiplier = b.model.tensors[a.multiplier].data<float>();
  const float* bias = s.bias ? b.model.tensors[a.bias].data<float>() : nullptr;

  const Tensor result = make_reference_executor(b.model)->run({input})[0];
  ASSERT_EQ(result.numel(), static_cast<int64_t>(acc.size()));
  const int64_t plane = result.numel() / (batch * s.outputs);
  for (size_t i = 0; i < acc.size(); ++i) {
    const int64_t channel = static_cast<int64_t>(i) / plane % s.outputs;
    const float expected =
        oracle_value(acc[i], multiplier[channel], bias ? bias + channel : nullptr);
    ASSERT_EQ(result.data<float>()[i], expected) << "element " << i << ", seed " << seed;
  }
  EXPECT_EQ(make_fast_executor(b.model)->run({input})[0].bytes, result.bytes) << seed;
}

ConvShape shape_of(Random& random, size_t rank, bool transposed) {
  ConvShape s;
  s.groups = random.pick<int64_t>({1, 1, 2, 3});
  s.channels = s.groups * random.pick<int64_t>({1, 2, 3, 5});
  s.outputs = s.groups * random.pick<int64_t>({1, 2, 4, 7});
  s.transposed = transposed;
  s.bias = random.between(0, 1) == 1;
  for (size_t i = 0; i < rank; ++i) {
    s.kernel.push_back(random.between(1, 3));
    s.stride.push_back(random.between(1, 3));
    s.dilation.push_back(random.between(1, 2));
    s.padding.push_back(random.between(0, s.dilation[i] * (s.kernel[i] - 1)));
    s.output_padding.push_back(random.between(0, s.stride[i] - 1));
    s.input.push_back(random.between(5, 8));
  }
  return s;
}

class ConvOracle : public ::testing::TestWithParam<std::tuple<int, bool>> {};

TEST_P(ConvOracle, AllElementsEqual) {
  const auto [rank, transposed] = GetParam();
  const std::vector<int32_t> zero_points{0, 128, 255};
  for (uint32_t seed = 0; seed < 30; ++seed) {
    Random random(seed + 1000);
    const ConvShape s = shape_of(random, static_cast<size_t>(rank), transposed);
    if (seed % 3 == 2) {
      check(s, numerics::kInt8, static_cast<int32_t>(random.between(-128, 127)), seed);
    } else {
      check(s, numerics::kUint8, random.pick(zero_points), seed);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, ConvOracle,
                         ::testing::Combine(::testing::Values(1, 2, 3), ::testing::Bool()));

}  // namespace
}  // namespace qat::runtime::testing
