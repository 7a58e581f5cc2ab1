// Tiles in plain C++.

#include <cstring>

#include "kernels/cpu/conv_backward_s16_prepare_body.h"
#include "kernels/cpu/conv_backward_s16_table.h"

namespace qat::kernels::s16 {
namespace {

constexpr int kLanes = 8;

// Unsigned: where the gradient is not finite the codes are arbitrary and a sum may wrap.
uint32_t dot(uint32_t x, uint32_t y) {
  const auto half = [](uint32_t word) { return static_cast<int32_t>(static_cast<int16_t>(word)); };
  return static_cast<uint32_t>(half(x) * half(y)) +
         static_cast<uint32_t>(half(x >> 16) * half(y >> 16));
}

float to_float(uint32_t sum) { return static_cast<float>(static_cast<int32_t>(sum)); }

void add_to(float& to, float sum, bool first) { to = first ? sum : numerics::add(to, sum); }

template <int rows, int vectors>
struct PortableTiles {
  static constexpr int kColumns = vectors * kLanes;
  using Sums = uint32_t[rows][kColumns];

  static void data(const DataTile& t) {
    Sums acc = {};
    for (int64_t tap = 0; tap < t.taps; ++tap) {
      const uint32_t* weights = t.weights + tap * t.tap_stride;
      const int64_t end = t.tap_offsets[tap] + t.pairs;
      for (int64_t at = t.tap_offsets[tap]; at < end; ++at, weights += t.pair_stride) {
        for (int r = 0; r < rows; ++r) {
          for (int i = 0; i < kColumns; ++i) acc[r][i] += dot(t.positions[r][at], weights[i]);
        }
      }
    }
    for (int r = 0; r < rows; ++r) {
      for (int i = 0; i < kColumns; ++i) {
        const float sum = to_float(acc[r][i]);
        if (t.result != nullptr) {
          t.result[t.offsets[r] + i] = numerics::mul(sum, t.scale);
        } else {
          add_to(t.acc[r * t.pair_stride + i], sum, t.first);
        }
      }
    }
  }

  static void weight(const WeightTile& t) {
    Sums acc = {};
    for (int64_t i = 0; i < t.run_count; ++i) {
      const Run& run = t.runs[i];
      const uint32_t* a = t.rows + (t.rows_are_grad ? run.grad : run.input) * t.row_width;
      const uint32_t* b = t.columns + (t.rows_are_grad ? run.input : run.grad) * t.column_width;
      for (int64_t p = 0; p < run.count; ++p, a += t.row_step, b += t.column_step) {
        for (int r = 0; r < rows; ++r) {
          for (int j = 0; j < kColumns; ++j) acc[r][j] += dot(a[r], b[j]);
        }
      }
    }
    for (int r = 0; r < rows; ++r) {
      for (int j = 0; j < kColumns; ++j) {
        const float scale = t.scale[t.rows_are_grad ? r : j];
        add_to(t.acc[r * t.column_width + j], numerics::mul(to_float(acc[r][j]), scale), t.first);
      }
    }
  }
};

void absmax(const float* x, int64_t n, int64_t width, int32_t* maximum) {
  absmax_body(x, n, width, maximum);
}

void round_grad(const float* x, int64_t n, const float* factor, int64_t width, float inverse,
                int16_t* out) {
  round_grad_body(x, n, factor, width, inverse, out);
}

void absmax_pair(const PairSource& s, const float* low, const float* high, int32_t* maximum) {
  absmax_pair_body(s, low, high, maximum);
}

void pair_grad(const PairSource& s, const float* low, const float* high, const float* inverse,
               uint32_t* out) {
  pair_grad_body(s, low, high, inverse, out);
}

void pair_codes(const PairSource& s, const uint8_t* low, const uint8_t* high, uint8_t flip,
                int32_t zero_point, uint32_t* out) {
  pair_codes_body(s, low, high, flip, zero_point, out);
}

void pair_weights(const PairSource& s, const int8_t* low, const int8_t* high, uint32_t* out) {
  pair_weights_body(s, low, high, out);
}

void store_rows(const float* acc, int64_t width, float scale, const int64_t* offsets, int64_t rows,
                int64_t columns, float* out) {
  store_rows_body(acc, width, scale, offsets, rows, columns, out);
}

void scatter(const ScatterTile& t, float* out) { scatter_body(t, out); }

constexpr Kernels make() {
  Kernels kernels{};
  kernels.name = "portable";
  kernels.lanes = kLanes;
  kernels.max_vectors = 2;
  kernels.absmax = absmax;
  kernels.absmax_pair = absmax_pair;
  kernels.round_grad = round_grad;
  kernels.pair_grad = pair_grad;
  kernels.pair_codes = pair_codes;
  kernels.pair_weights = pair_weights;
  kernels.store_rows = store_rows;
  kernels.scatter = scatter;
  fill_tiles<PortableTiles, 1, 4>(kernels);
  fill_tiles<PortableTiles, 2, 4>(kernels);
  return kernels;
}

}  // namespace

const Kernels& portable_kernels() {
  static constexpr Kernels kKernels = make();
  return kKernels;
}

}  // namespace qat::kernels::s16
