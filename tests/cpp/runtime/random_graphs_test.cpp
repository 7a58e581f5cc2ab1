// The fast executor equals the reference in every bit on random graphs.

#include "runtime/compare.h"

namespace qat::runtime::testing {
namespace {

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

// [N, groups * members, H, W] with its channels in another order.
int64_t shuffle(Builder& b, int64_t x, int64_t groups) {
  const Shape whole = b.value(x).shape;
  Shape split = whole, turned = whole;
  const Affine outer{0, groups}, inner{0, whole[1].constant / groups};
  split[1] = inner;
  turned[1] = outer;
  split.insert(split.begin() + 1, outer);
  turned.insert(turned.begin() + 1, inner);
  const int64_t y = b.codes_node(ReshapeAttributes{split}, {x}, split);
  const int64_t z = b.codes_node(PermuteAttributes{{0, 2, 1, 3, 4}}, {y}, turned);
  return b.codes_node(ReshapeAttributes{whole}, {z}, whole);
}

int64_t random_lookup(Builder& b, Random& random, int64_t x) {
  const numerics::IntFormat from = b.value(x).format, to = random_format(random);
  const int64_t entries = int64_t{1} << from.bits;
  Tensor table{to.is_signed ? TensorType::int8 : TensorType::uint8, {entries}, {}};
  for (int64_t i = 0; i < entries; ++i) {
    table.bytes.push_back(static_cast<std::byte>(random.between(to.quant_min(), to.quant_max())));
  }
  numerics::QuantParams params = random_params(random, to);
  if (to.bits == 4) params = {0.4f, 7};
  return b.node(LookupAttributes{b.add_tensor(table)}, {x},
                {"", ElementType::codes, b.value(x).shape, to, params});
}

// Moves codes or sends each through a function of its own.
int64_t random_move(Builder& b, Random& random, int64_t x) {
  Shape shape = b.value(x).shape;
  switch (random.between(0, 4)) {
    case 0: {
      const auto axis = random.between(1, 3), step = random.between(1, 2);
      int64_t& size = shape[static_cast<size_t>(axis)].constant;
      const int64_t start = random.between(0, size - 1), stop = random.between(start + 1, size);
      size = (stop - start + step - 1) / step;
      return b.codes_node(SliceAttributes{axis, {0, start}, {0, stop}, step}, {x}, shape);
    }
    case 1: {
      const Sizes factor = random.pick<Sizes>({{2}, {1, 2}, {2, 1}, {2, 3}});
      for (size_t i = 0; i < factor.size(); ++i) shape[4 - factor.size() + i].constant *= factor[i];
      if (shape[2].constant * shape[3].constant > 200) return x;
      return b.codes_node(UpsampleNearestAttributes{factor}, {x}, shape);
    }
    case 2:
      for (const int64_t groups : {2, 3, 5}) {
        if (shape[1].constant % groups == 0) return shuffle(b, x, groups);
      }
      return x;
    case 3:
      return random_lookup(b, random, x);
    default:
      return random_quantize(b, random, random_activation(b, random, dequantized(b, x)));
  }
}

// Grows a graph on 4-d codes; each call adds one random block and returns its codes.
int64_t random_block(Builder& b, Random& random, int64_t x) {
  if (random.between(0, 3) == 0) return random_move(b, random, x);
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
  for (uint32_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    Builder b;
    const Sizes rest{random.pick<int64_t>({1, 3, 16, 17, 32, 33}), random.between(4, 9),
                     random.between(4, 9)};
    const numerics::IntFormat format = random_format(random);
    numerics::QuantParams params = random_params(random, format);
    if (format.bits == 4) params = {0.4f, 7};
    int64_t x = b.codes_input(batched(rest), params, format);
    for (int64_t block = random.between(1, 5); block > 0; --block) x = random_block(b, random, x);
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

}  // namespace
}  // namespace qat::runtime::testing
