// Tiles in plain C++, on the packing of the AVX2 path: pairs of int16.

#include <cstring>

#include "kernels/cpu/gemm_u8s8_epilogue_body.h"
#include "kernels/cpu/gemm_u8s8_table.h"

namespace qat::kernels::u8s8 {
namespace {

constexpr int kLanes = 8;

int32_t wrapping_sum(int32_t a, int32_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
}

// Sums wrap (Note [Tiles]), which signed integers must not.
uint32_t product(int16_t x, int16_t w) {
  return static_cast<uint32_t>(static_cast<int32_t>(x) * static_cast<int32_t>(w));
}

template <int rows, int vectors>
struct PortableTile {
  static void run(const Tile& t) {
    uint32_t acc[rows][vectors * kLanes];
    for (int r = 0; r < rows; ++r) std::memcpy(acc[r], t.start, sizeof acc[r]);
    const std::byte* weights = t.weights;
    for (int64_t tap = 0; tap < t.taps; ++tap) {
      for (int64_t step = 0; step < t.steps; ++step, weights += vectors * kLanes * 4) {
        int16_t w[vectors * kLanes][2];
        std::memcpy(w, weights, sizeof w);
        for (int r = 0; r < rows; ++r) {
          int16_t x[2];
          std::memcpy(x, t.positions[r] + t.tap_offsets[tap] + step * 4, sizeof x);
          for (int k = 0; k < vectors * kLanes; ++k) {
            acc[r][k] += product(x[0], w[k][0]) + product(x[1], w[k][1]);
          }
        }
      }
    }
    std::memcpy(t.acc, acc, sizeof acc);
  }
};

void depthwise(const DepthwiseTile& t) {
  for (int64_t r = 0; r < t.rows; ++r) {
    int32_t* acc = t.acc + r * t.width;
    std::memcpy(acc, t.start, static_cast<size_t>(t.width) * sizeof(int32_t));
    for (int64_t tap = 0; tap < t.taps; ++tap) {
      const uint8_t* x = t.positions[r] + t.tap_offsets[tap];
      const int32_t* w = t.weights + tap * t.weight_stride;
      for (int64_t c = 0; c < t.width; ++c) acc[c] = wrapping_sum(acc[c], x[c] * w[c]);
    }
  }
}

void epilogue(const Epilogue& e, const EpilogueTile& t) { epilogue_body(e, t); }

constexpr Kernels make() {
  Kernels kernels{
      InstructionSet::portable, kLanes, 2, 2, {0, 4, 4}, {}, depthwise, epilogue, nullptr};
  fill_tiles<PortableTile, 1, 4>(kernels);
  fill_tiles<PortableTile, 2, 4>(kernels);
  return kernels;
}

}  // namespace

const Kernels& portable_kernels() {
  static constexpr Kernels kKernels = make();
  return kKernels;
}

}  // namespace qat::kernels::u8s8
