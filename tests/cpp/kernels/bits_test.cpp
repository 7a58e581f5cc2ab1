// The elementwise kernels give the same bytes on every processor: digests of what x86-64 computes
// stand here, and each instruction set's copy on each machine has to reach them. Who changes the
// numerics on purpose takes over the new ones from the failures, which name the function.

#include <gtest/gtest.h>

#include <cmath>
#include <iterator>
#include <limits>
#include <vector>

#include "kernels/cpu/tables.h"
#include "numerics/quantize.h"

namespace qat::kernels::testing {
namespace {

using numerics::ActivationKind;

// No register divides either of the two, and the last row is cut short.
constexpr int64_t kWidth = 70, kCount = kWidth * 41 + 27;

// Reals of many magnitudes, the same everywhere: of 24 random bits, without the library.
std::vector<float> reals(uint32_t seed, int64_t n, float scale) {
  std::vector<float> out(static_cast<size_t>(n));
  for (float& x : out) {
    seed = seed * 1664525u + 1013904223u;
    const auto digits = static_cast<float>(static_cast<int32_t>(seed >> 8) - (1 << 23)) * 0x1p-23f;
    x = digits * scale * ((seed & 0x4000000) != 0 ? 0x1p-5f : 1.0f);
  }
  return out;
}

std::vector<float> positive(uint32_t seed, int64_t n, float scale) {
  std::vector<float> out = reals(seed, n, scale);
  for (float& x : out) x = std::abs(x) + scale * 0.125f;
  return out;
}

std::vector<uint8_t> bytes_of(uint32_t seed, int64_t n) {
  std::vector<uint8_t> out(static_cast<size_t>(n));
  for (uint8_t& x : out) x = static_cast<uint8_t>((seed = seed * 1664525u + 1013904223u) >> 24);
  return out;
}

// FNV-1a.
class Digest {
 public:
  template <typename T>
  Digest& add(const T* data, size_t n) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(data);
    for (size_t i = 0; i < n * sizeof(T); ++i) value_ = (value_ ^ bytes[i]) * 0x100000001b3u;
    return *this;
  }
  template <typename T>
  Digest& add(const std::vector<T>& data) {
    return add(data.data(), data.size());
  }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0xcbf29ce484222325u;
};

// One chain with everything it may point to, and its gradient.
struct Inputs {
  std::vector<float> scale = positive(1, kWidth, 0.03f), inverse_scale, x = reals(2, kCount, 9.0f);
  std::vector<int32_t> zero_point;
  std::vector<float> grad = reals(3, kCount, 1.0f), acc = reals(4, kCount, 30000.0f);
  std::vector<float> multiplier = reals(5, kWidth, 3e-4f), bias = reals(6, kWidth, 2.0f);
  std::vector<float> p0 = reals(7, kWidth, 0.5f), residual = reals(8, kCount, 3.0f);
  std::vector<uint8_t> codes = bytes_of(9, kCount);
  std::vector<float> gain = reals(10, kWidth, 2.0f), mean_dy = reals(11, kWidth, 0.1f);
  std::vector<float> mean_dy_xhat = reals(12, kWidth, 0.1f), pass_lo, pass_hi;

  Inputs() {
    for (float& a : acc) a = std::nearbyint(a);
    for (int64_t i = 0; i < kWidth; ++i) {
      const float s = scale[static_cast<size_t>(i)], inverse = numerics::inverse_scale(s);
      inverse_scale.push_back(inverse);
      zero_point.push_back(static_cast<int32_t>(i * 3 % 256));
      const auto zero_code = static_cast<float>(zero_point.back());
      const auto range = numerics::pass_range(inverse, zero_code, 0.0f, 255.0f);
      pass_lo.push_back(range.lo);
      pass_hi.push_back(range.hi);
    }
    // Ties, and what leaves the codes or is no number.
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    for (size_t i = 0; i < 60; ++i) x[i + 300] = (static_cast<float>(i) + 0.5f) * scale[0];
    const float ends[] = {kInfinity, -kInfinity, kNan, -0.0f, 0.0f, 1e-42f, 3e38f, -3e38f};
    for (size_t i = 0; i < std::size(ends); ++i) x[i * 97 + 5] = ends[i];
  }

  Quantizer quantizer() const {
    return {scale.data(), inverse_scale.data(), zero_point.data(), 0.0f, 255.0f, kWidth};
  }
  Chain chain(ActivationKind activation, ResidualType type) const {
    Chain c;
    c.acc = acc.data();
    c.residual = type == ResidualType::float32 ? static_cast<const void*>(residual.data())
                                               : static_cast<const void*>(codes.data());
    c.residual_type = type;
    c.residual_scale = scale.data();
    c.residual_zero_point = zero_point.data();
    c.multiplier = multiplier.data();
    c.bias = bias.data();
    c.p0 = p0.data();
    c.p1 = 4.0f;
    c.activation = activation;
    c.quantizer = quantizer();
    c.width = kWidth;
    return c;
  }
  ChainBackward backward(const Chain& chain, bool quantized) const {
    ChainBackward b;
    b.chain = chain;
    b.chain.quantized = quantized;
    b.grad = grad.data();
    b.xhat_multiplier = multiplier.data();
    b.xhat_bias = bias.data();
    b.pass_lo = pass_lo.data();
    b.pass_hi = pass_hi.data();
    b.gain = gain.data();
    b.mean_dy = mean_dy.data();
    b.mean_dy_xhat = mean_dy_xhat.data();
    return b;
  }
};

template <typename Body>
void for_each_chain(const Inputs& in, const Body& body) {
  for (const auto kind :
       {ActivationKind::none, ActivationKind::relu, ActivationKind::clamp,
        ActivationKind::leaky_relu, ActivationKind::hardswish, ActivationKind::hardsigmoid}) {
    for (const auto type :
         {ResidualType::none, ResidualType::float32, ResidualType::uint8, ResidualType::int8}) {
      body(in.chain(kind, type));
    }
  }
}

std::vector<float> results() { return std::vector<float>(static_cast<size_t>(kCount)); }
std::vector<double> sums() { return std::vector<double>(static_cast<size_t>(kWidth)); }

uint64_t quantize(const KernelTable& table, const Inputs& in) {
  std::vector<uint8_t> codes(static_cast<size_t>(kCount));
  table.quantize(in.quantizer(), in.x.data(), codes.data(), kCount);
  Digest digest;
  digest.add(codes);
  Quantizer uniform = in.quantizer();
  uniform.width = 1;
  table.quantize(uniform, in.x.data(), codes.data(), kCount);
  return digest.add(codes).value();
}

uint64_t dequantize(const KernelTable& table, const Inputs& in) {
  Digest digest;
  auto out = results();
  for (const bool is_signed : {false, true}) {
    table.dequantize(in.quantizer(), in.codes.data(), is_signed, out.data(), kCount);
    digest.add(out);
  }
  return digest.value();
}

uint64_t fake_quantize(const KernelTable& table, const Inputs& in) {
  auto out = results();
  table.fake_quantize(in.quantizer(), in.x.data(), out.data(), kCount);
  Digest digest;
  digest.add(out);
  table.fake_quantize_backward(in.quantizer(), in.grad.data(), in.x.data(), out.data(), kCount);
  return digest.add(out).value();
}

uint64_t fake_quantize_learned(const KernelTable& table, const Inputs& in) {
  Digest digest;
  for (const bool clipped_only : {false, true}) {
    auto out = results();
    auto scale = sums(), zero_point = sums();
    table.fake_quantize_learned_backward(in.quantizer(), in.grad.data(), in.acc.data(), out.data(),
                                         kCount, {scale.data(), zero_point.data(), clipped_only});
    digest.add(out).add(scale).add(zero_point);
  }
  return digest.value();
}

uint64_t ranges(const KernelTable& table, const Inputs& in) {
  RangeKeys keys;
  table.range(in.x.data(), kCount, &keys);
  std::vector<int32_t> low(kWidth, INT32_MAX), high(kWidth, INT32_MIN);
  table.range_per_channel(in.x.data(), kCount, kWidth, low.data(), high.data());
  const float absmax = table.absmax(in.x.data(), kCount);
  return Digest().add(&keys, 1).add(low).add(high).add(&absmax, 1).value();
}

uint64_t chain_forward(const KernelTable& table, const Inputs& in) {
  Digest digest;
  for_each_chain(in, [&](const Chain& chain) {
    std::vector<uint8_t> codes(static_cast<size_t>(kCount));
    RangeKeys keys;
    auto out = results();
    table.chain_quantize(chain, 0, kCount, codes.data(), &keys);
    table.chain_float(chain, 0, kCount, out.data());
    digest.add(codes).add(&keys, 1).add(out);
  });
  return digest.value();
}

uint64_t chain_half(const KernelTable& table, const Inputs& in) {
  Digest digest;
  std::vector<uint16_t> half(static_cast<size_t>(kCount));
  for (const float scale : {1.0f, 1e-6f, 1e5f}) {  // subnormal numbers, and beyond the range
    std::vector<float> multiplier = in.multiplier;
    for (float& m : multiplier) m *= scale;
    Chain chain = in.chain(ActivationKind::none, ResidualType::none);
    chain.multiplier = multiplier.data();
    const bool fits = table.chain_half(chain, 0, kCount, half.data());
    digest.add(half).add(&fits, 1);
    ChainBackward backward = in.backward(chain, false);
    backward.half_acc = half.data();
    auto out = results();
    if (fits) table.chain_backward_apply(backward, 0, kCount, out.data(), nullptr);
    digest.add(out);
  }
  return digest.value();
}

uint64_t chain_statistics(const KernelTable& table, const Inputs& in) {
  auto sum = sums(), squares = sums();
  table.chain_statistics(in.chain(ActivationKind::relu, ResidualType::none), in.gain.data(), 0,
                         kCount, sum.data(), squares.data());
  return Digest().add(sum).add(squares).value();
}

uint64_t chain_backward(const KernelTable& table, const Inputs& in) {
  Digest digest;
  for_each_chain(in, [&](const Chain& chain) {
    for (const bool quantized : {false, true}) {
      const ChainBackward backward = in.backward(chain, quantized);
      auto dy = sums(), dy_xhat = sums(), slope = sums(), scale = sums(), zero_point = sums();
      ChainSums to{dy.data(), dy_xhat.data(), slope.data()};
      table.chain_backward_sums(backward, 0, kCount, to);
      to.learned = {scale.data(), zero_point.data(), false};
      if (quantized) table.chain_backward_sums(backward, 0, kCount, to);
      auto d_value = results(), d_residual = results();
      table.chain_backward_apply(backward, 0, kCount, d_value.data(), d_residual.data());
      digest.add(dy).add(dy_xhat).add(slope).add(scale).add(zero_point);
      digest.add(d_value).add(d_residual);
    }
  });
  return digest.value();
}

struct Expected {
  const char* name;
  uint64_t (*function)(const KernelTable&, const Inputs&);
  uint64_t digest;
};

constexpr Expected kExpected[] = {
    {"quantize", quantize, 0x7ce52366316cfaff},
    {"dequantize", dequantize, 0x6ee4590eb52bd05f},
    {"fake_quantize", fake_quantize, 0x641730908404fc0b},
    {"fake_quantize_learned", fake_quantize_learned, 0x53ee6e2c681ac6ac},
    {"ranges", ranges, 0x56140a3147caa1dd},
    {"chain_forward", chain_forward, 0x2b06fcdabfba4ed6},
    {"chain_half", chain_half, 0x767e4dd5deb6aed5},
    {"chain_statistics", chain_statistics, 0xd632ef5cb01250bb},
    {"chain_backward", chain_backward, 0x6ad5784089fa06bf},
};

TEST(Bits, OfEveryInstructionSet) {
  const Inputs inputs;
  for (const KernelTable* table : available_tables()) {
    for (const Expected& expected : kExpected) {
      const uint64_t digest = expected.function(*table, inputs);
      EXPECT_EQ(digest, expected.digest)
          << table->name << " " << expected.name << std::hex << " 0x" << digest;
    }
  }
}

}  // namespace
}  // namespace qat::kernels::testing
