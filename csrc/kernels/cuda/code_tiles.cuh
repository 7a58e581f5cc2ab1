#pragma once
// Tiles of codes and weights in shared memory, and the sums of their products in registers.

#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/code_sums.cuh"
#include "kernels/cuda/ldmatrix.cuh"
#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/packs.cuh"
#include "numerics/arith.h"

namespace qat::kernels::cuda {

constexpr int kTileRows = 128, kTileFilters = 64, kTileDepth = 64;
constexpr int kChunk = 16;  // bytes that a thread loads at once
constexpr int kChunks = kTileDepth / kChunk;
// Eight warps, each with a square of the tile.
constexpr int kWarp = 32;
constexpr int kWarpRows = 32, kWarpFilters = 32;
static_assert(kTileRows / kWarpRows * (kTileFilters / kWarpFilters) * kWarp == kThreads);
static_assert(kTileFilters * kChunks == kThreads, "a chunk of weights for each thread");

using Chunk = Pack<uint32_t, kChunk / 4>;

// Rows of kTileDepth bytes, their chunks where chunk_place() says.
struct CodeTiles {
  Chunk codes[kTileRows][kChunks];
  Chunk weights[kTileFilters][kChunks];
};

// Eight rows are read at the same chunk at once (load_blocks). Two rows fill the 32 banks, so each
// pair of rows has its chunks in another order.
__device__ __forceinline__ int chunk_place(int row, int chunk) {
  static_assert(kChunks == 4);
  return chunk ^ (row / 2 % kChunks);
}

// Where a tile lies in the product, and how much of it.
struct TilePlace {
  int64_t first_row, first_filter, group;
  int32_t rows, filters;
};

struct ProductOutput {
  float* values;
  int64_t columns;  // filters of all groups
  bool pairs;       // two neighbouring filters may be stored at once
};

// The sums of one thread: sum(q w) for the results that Note [Fragments] gives it, and sum(w) over
// a quarter of the depth of filter threadIdx.x / kChunks.
//
// Note [Codes for tensor cores]
// Codes are multiplied as they are: cp.async leaves no moment to flip a bit as dp4a wants it.
// kLongestSum products of 255 and -128 stay below 2^31, and so does their centred sum.
template <bool is_signed, typename Total>
class TileSums {
 public:
  __device__ __forceinline__ void add(const CodeTiles& tiles, bool sum_weights) {
#pragma unroll
    for (int step = 0; step < kTileDepth / kMmaDepth; ++step) {
      uint32_t left[kDown][4], right[4];
#pragma unroll
      for (int m = 0; m < kDown; ++m) {
        const int row = warp_row() + m * kMmaRows + lane() % kMmaRows;
        load_blocks(left[m], &tiles.codes[row][chunk_place(row, 2 * step + lane() / kMmaRows)]);
      }
#pragma unroll
      for (int n = 0; n < kAcross; n += 2) {
        const int filter =
            warp_filter() + (n + lane() / kMmaRows) * kMmaColumns + lane() % kMmaColumns;
        const int chunk = chunk_place(filter, 2 * step + lane() / kMmaColumns % 2);
        load_blocks(right, &tiles.weights[filter][chunk]);
#pragma unroll
        for (int m = 0; m < kDown; ++m) {
          multiply_add<is_signed>(sums_[m][n], left[m], {right[0], right[1]});
          multiply_add<is_signed>(sums_[m][n + 1], left[m], {right[2], right[3]});
        }
      }
    }
    // The order of the chunks does not matter here.
    if (sum_weights) add_weights(tiles.weights[threadIdx.x / kChunks][threadIdx.x % kChunks]);
  }

  // After kLongestSum products at the latest.
  __device__ __forceinline__ void carry() {
    if constexpr (kIsLong) {
#pragma unroll
      for (int i = 0; i < kDown * kAcross * 4; ++i) {
        int32_t& sum = sums_[i / (kAcross * 4)][i / 4 % kAcross][i % 4];
        totals_[i] += sum;
        sum = 0;
      }
    }
  }

  // filter_sums: shared memory, kTileFilters entries. All threads of the block are needed.
  __device__ __forceinline__ void store(const ProductOutput& out, const TilePlace& place,
                                        int32_t zero_point, int32_t* filter_sums) {
    static_assert(kChunks == 4);
    weight_sum_ += __shfl_down_sync(0xffffffffu, weight_sum_, 1);
    weight_sum_ += __shfl_down_sync(0xffffffffu, weight_sum_, 2);
    if (threadIdx.x % kChunks == 0) filter_sums[threadIdx.x / kChunks] = weight_sum_;
    carry();
    __syncthreads();
    float* const tile = out.values + place.first_row * out.columns + place.first_filter;
#pragma unroll
    for (int i = 0; i < kDown * kAcross * 2; ++i) {
      const int m = i / (kAcross * 2), n = i / 2 % kAcross, half = i % 2;
      const int row = warp_row() + m * kMmaRows + lane() / 4 + half * 8;
      const int column = warp_filter() + n * kMmaColumns + lane() % 4 * 2;
      if (row >= place.rows || column >= place.filters) continue;
      float* const to = tile + row * out.columns + column;
      const Pack<float, 2> pair{centred(m, n, half * 2, zero_point, filter_sums[column]),
                                centred(m, n, half * 2 + 1, zero_point, filter_sums[column + 1])};
      if (out.pairs) {
        qat::kernels::cuda::store(to, pair);
      } else {
        to[0] = pair.v[0];
        if (column + 1 < place.filters) to[1] = pair.v[1];
      }
    }
  }

 private:
  static constexpr int kDown = kWarpRows / kMmaRows, kAcross = kWarpFilters / kMmaColumns;
  static constexpr bool kIsLong = sizeof(Total) > sizeof(int32_t);

  static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x) % kWarp; }
  static __device__ __forceinline__ int warp() { return static_cast<int>(threadIdx.x) / kWarp; }
  static __device__ __forceinline__ int warp_row() {
    return warp() % (kTileRows / kWarpRows) * kWarpRows;
  }
  static __device__ __forceinline__ int warp_filter() {
    return warp() / (kTileRows / kWarpRows) * kWarpFilters;
  }

  __device__ __forceinline__ void add_weights(const Chunk& weights) {
#pragma unroll
    for (const uint32_t four : weights.v) {
      weight_sum_ = __dp4a(0x01010101, static_cast<int32_t>(four), weight_sum_);
    }
  }

  __device__ __forceinline__ float centred(int m, int n, int i, int32_t zero_point,
                                           int32_t filter_sum) const {
    if constexpr (kIsLong) {
      return numerics::to_float(totals_[(m * kAcross + n) * 4 + i] -
                                Total{zero_point} * filter_sum);
    } else {
      return numerics::to_float(sums_[m][n][i] - zero_point * filter_sum);
    }
  }

  int32_t sums_[kDown][kAcross][4] = {};
  Total totals_[kIsLong ? kDown * kAcross * 4 : 1] = {};
  int32_t weight_sum_ = 0;
};

}  // namespace qat::kernels::cuda
