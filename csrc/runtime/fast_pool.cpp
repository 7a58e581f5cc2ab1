// Pools on channels-last codes: all channels of a position at once.

#include "numerics/requantize.h"
#include "runtime/fast_layers.h"
#include "runtime/parallel.h"

namespace qat::runtime {
namespace {

struct PoolSource {
  const uint8_t* image = nullptr;  // [H][W][C]
  int64_t width = 0, channels = 0;
  bool is_signed = false;
};

template <typename Code>
QAT_INLINE void max_position(const PoolSource& s, const Window& y, const Window& x, Code* out) {
  for (int64_t i = y.begin; i < y.end; i += y.step) {
    for (int64_t j = x.begin; j < x.end; j += x.step) {
      const Code* in = reinterpret_cast<const Code*>(s.image) + (i * s.width + j) * s.channels;
#pragma omp simd
      for (int64_t c = 0; c < s.channels; ++c) out[c] = in[c] > out[c] ? in[c] : out[c];
    }
  }
}

QAT_MULTIVERSION void max_of_position(const PoolSource& s, const Window& y, const Window& x,
                                      uint8_t* out) {
  if (s.is_signed) {
    max_position(s, y, x, reinterpret_cast<int8_t*>(out));
  } else {
    max_position(s, y, x, out);
  }
}

template <typename Code>
QAT_INLINE void sum_position(const PoolSource& s, const Window& y, const Window& x, int32_t* sums) {
  for (int64_t i = y.begin; i < y.end; ++i) {
    for (int64_t j = x.begin; j < x.end; ++j) {
      const Code* in = reinterpret_cast<const Code*>(s.image) + (i * s.width + j) * s.channels;
#pragma omp simd
      for (int64_t c = 0; c < s.channels; ++c) sums[c] += in[c];
    }
  }
}

QAT_MULTIVERSION void sum_of_position(const PoolSource& s, const Window& y, const Window& x,
                                      int32_t* sums) {
  if (s.is_signed) {
    sum_position<int8_t>(s, y, x, sums);
  } else {
    sum_position<uint8_t>(s, y, x, sums);
  }
}

// Sums of at most 2^23 codes fit 32 bits: |code - zero point| <= 255.
constexpr int64_t kMaxWindow = int64_t{1} << 23;

struct FastPool {
  Site site;
  Pool fixed;

  void run_row(const Pool& pool, const PoolSource& source, int64_t row, const View& output,
               int32_t* sums) const {
    const Axis& ax = pool.axes[2];
    const int64_t channels = source.channels;
    const graph::Value& value = site.input(0);
    const Window y = pool.window(1, row % pool.axes[1].output);
    for (int64_t o = 0; o < ax.output; ++o) {
      const Window x = pool.window(2, o);
      const int64_t at = (row * ax.output + o) * channels;
      if (pool.kind == PoolKind::max) {
        uint8_t* out = output.as<uint8_t>() + at;
        std::fill_n(out, channels, static_cast<uint8_t>(value.format.quant_min()));
        max_of_position(source, y, x, out);
        continue;
      }
      const int64_t count = y.size() * x.size();
      std::fill_n(sums, channels, 0);
      sum_of_position(source, y, x, sums);
      const int64_t divisor = pool.divisor({0, 1, 1, 1}, y, x);
      float* out = output.as<float>() + at;
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t sum = sums[c] - count * value.qparams.zero_point;
        // An empty window is 0 for ATen, whatever its divisor.
        out[c] = count == 0 ? 0.0f : numerics::average(sum, value.qparams.scale, divisor);
      }
    }
  }

  void run(const Pool& pool, const View& input, const View& output, int threads) const {
    const Sizes& in = input.shape;
    const int64_t h = pool.axes[1].output;
    const int64_t image = in[1] * in[2] * in[3];
    const int64_t grain = kElementGrain * h / std::max<int64_t>(image, 1);
    parallel_for(threads, in[0] * h, grain, [&](int64_t begin, int64_t end) {
      thread_local std::vector<int32_t> sums;
      if (sums.size() < static_cast<size_t>(in[3])) sums.resize(static_cast<size_t>(in[3]));
      for (int64_t row = begin; row < end; ++row) {
        const PoolSource source{input.as<uint8_t>() + row / h * image, in[2], in[3],
                                site.input(0).format.is_signed};
        run_row(pool, source, row, output, sums.data());
      }
    });
  }
};

}  // namespace

Binder make_fast_pool(const Site& site, const Pool& pool) {
  return [fast = FastPool{site, pool}](const std::vector<const View*>& inputs, const View& output) {
    const Sizes& in = inputs[0]->shape;
    if (in[1] * in[2] > kMaxWindow) fail(fast.site.node, "its input has more than 2^23 positions");
    const Pool now = at_sizes(fast.fixed, fast.site.node, in.data() + 1);
    Sizes made{in[0], now.axes[1].output, now.axes[2].output, in[3]};
    if (output.shape.size() == 2 && made[1] == 1 && made[2] == 1) made = {in[0], in[3]};
    check_made(fast.site.node, made, output);
    return [fast, now, input = inputs[0], to = &output](int threads, MacCount&) {
      fast.run(now, *input, *to, threads);
    };
  };
}

}  // namespace qat::runtime
