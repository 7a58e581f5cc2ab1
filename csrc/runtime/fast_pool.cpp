// Pools on channels-last codes: all channels of a position at once.

#include "numerics/requantize.h"
#include "runtime/fast_layers.h"
#include "runtime/parallel.h"

namespace qat::runtime {
namespace {

// `count` of the channels of an image, which start at `image`.
struct PoolSource {
  const uint8_t* image = nullptr;  // [H][W][C]
  int64_t width = 0, channels = 0, count = 0;
  bool is_signed = false;
};

// `width` channels from channel c on, in a register while the window is read.
template <typename Code, int64_t width>
QAT_INLINE void max_vector(const PoolSource& s, const Window& y, const Window& x, int64_t c,
                           Code* out) {
  typedef Code Vector __attribute__((vector_size(width)));
  Vector largest;
  __builtin_memcpy(&largest, out + c, sizeof largest);
  for (int64_t i = y.begin; i < y.end; i += y.step) {
    for (int64_t j = x.begin; j < x.end; j += x.step) {
      Vector codes;
      __builtin_memcpy(&codes, s.image + (i * s.width + j) * s.channels + c, sizeof codes);
      largest = codes > largest ? codes : largest;
    }
  }
  __builtin_memcpy(out + c, &largest, sizeof largest);
}

// Ends with a vector that overlaps the one before: a maximum may be taken twice.
template <typename Code, int64_t width>
QAT_INLINE void max_vectors(const PoolSource& s, const Window& y, const Window& x, Code* out) {
  for (int64_t c = 0; c + width <= s.count; c += width) max_vector<Code, width>(s, y, x, c, out);
  if (s.count % width) max_vector<Code, width>(s, y, x, s.count - width, out);
}

template <typename Code>
QAT_INLINE void max_position(const PoolSource& s, const Window& y, const Window& x, Code* out) {
  if (s.count >= 32) return max_vectors<Code, 32>(s, y, x, out);
  if (s.count >= 16) return max_vectors<Code, 16>(s, y, x, out);
  if (s.count >= 8) return max_vectors<Code, 8>(s, y, x, out);
  max_vectors<Code, 1>(s, y, x, out);
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
      for (int64_t c = 0; c < s.count; ++c) sums[c] += in[c];
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

constexpr int64_t kSums = 512;  // channels of a position at a time, 2 KiB of sums

struct FastPool {
  Site site;
  Pool pool;

  // out: where the position's channels go.
  void run_position(PoolSource source, const Window& y, const Window& x, const View& output,
                    int64_t out) const {
    const graph::Value& value = site.input(0);
    if (pool.kind == PoolKind::max) {
      uint8_t* codes = output.as<uint8_t>() + out;
      source.count = source.channels;
      std::fill_n(codes, source.count, static_cast<uint8_t>(value.format.quant_min()));
      max_of_position(source, y, x, codes);
      return;
    }
    int32_t sums[kSums];
    const int64_t elements = y.size() * x.size();
    const int64_t divisor = pool.divisor({0, 1, 1, 1}, y, x);
    for (int64_t first = 0; first < source.channels; first += kSums) {
      source.count = std::min(kSums, source.channels - first);
      std::fill_n(sums, source.count, 0);
      sum_of_position(source, y, x, sums);
      source.image += kSums;
      float* reals = output.as<float>() + out + first;
      for (int64_t c = 0; c < source.count; ++c) {
        const int64_t sum = sums[c] - elements * value.qparams.zero_point;
        // An empty window is 0 for ATen, whatever its divisor.
        reals[c] = elements == 0 ? 0.0f : numerics::average(sum, value.qparams.scale, divisor);
      }
    }
  }

  void run(const View& input, const View& output, int threads) const {
    const Sizes& in = input.shape;
    const int64_t h = pool.axes[1].output, w = pool.axes[2].output;
    const int64_t image = in[1] * in[2] * in[3];
    const int64_t grain = kElementGrain * h / std::max<int64_t>(image, 1);
    parallel_for(threads, in[0] * h, grain, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const PoolSource source{input.as<uint8_t>() + row / h * image, in[2], in[3], 0,
                                site.input(0).format.is_signed};
        const Window y = pool.window(1, row % h);
        for (int64_t o = 0; o < w; ++o) {
          run_position(source, y, pool.window(2, o), output, (row * w + o) * in[3]);
        }
      }
    });
  }
};

}  // namespace

Binder make_fast_pool(const Site& site, const Pool& pool) {
  return [site, pool](const Binding& at) -> Bound {
    const Sizes& in = at.inputs[0]->shape;
    if (in[1] * in[2] > kMaxWindow) fail(site.node, "its input has more than 2^23 positions");
    const Pool now = at_sizes(pool, site.node, in.data() + 1);
    Sizes made{in[0], now.axes[1].output, now.axes[2].output, in[3]};
    if (at.output->shape.size() == 2 && made[1] == 1 && made[2] == 1) made = {in[0], in[3]};
    check_made(site.node, made, *at.output);
    return [fast = FastPool{site, now}, input = at.inputs[0], output = at.output](
               int threads, MacCount&) { fast.run(*input, *output, threads); };
  };
}

}  // namespace qat::runtime
