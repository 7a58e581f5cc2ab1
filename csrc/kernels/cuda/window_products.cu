// Tiles of a matrix product on tensor cores, or one thread per result.

#include <algorithm>

#include "kernels/cuda/conv_int_direct.cuh"
#include "kernels/cuda/window_products.h"
#include "kernels/cuda/window_reader.cuh"

namespace qat::kernels::cuda {
namespace {

struct TileGrid {
  int64_t rows, filters, groups;  // filters of a group
  __host__ __device__ int64_t filter_tiles() const { return divide_up(filters, kTileFilters); }
  __host__ __device__ int64_t tiles() const {
    return divide_up(rows, kTileRows) * groups * filter_tiles();
  }
  // Neighbours read the same pixels: filters come first, then groups.
  __device__ __forceinline__ TilePlace at(int64_t tile) const {
    const int64_t rest = quotient_of(tile, filter_tiles()), row_tile = quotient_of(rest, groups);
    const int64_t group = rest - row_tile * groups;
    const int64_t row = row_tile * kTileRows,
                  filter = (tile - rest * filter_tiles()) * kTileFilters;
    return {.first_row = row,
            .first_filter = group * filters + filter,
            .group = group,
            .rows = static_cast<int32_t>(at_most(rows - row, kTileRows)),
            .filters = static_cast<int32_t>(at_most(filters - filter, kTileFilters))};
  }
  static __device__ __forceinline__ int64_t at_most(int64_t left, int64_t whole) {
    return left < whole ? left : whole;
  }
};

// While one tile is multiplied, the next kStages - 1 are on their way.
template <int kWidth, bool is_signed, typename Total>
__device__ __forceinline__ void multiply_depth(WindowReader<kWidth>& reader, int32_t depth,
                                               bool sum_weights, CodeTiles (&stages)[kStages],
                                               TileSums<is_signed, Total>& sums) {
  const auto tiles = static_cast<int32_t>(divide_up(depth, kTileDepth));
#pragma unroll
  for (int tile = 0; tile < kStages - 1; ++tile) {
    if (tile < tiles) reader.load(stages[tile]);
    end_group_of_copies();
  }
  for (int tile = 0; tile < tiles; ++tile) {
    wait_for_copies<kStages - 2>();
    __syncthreads();  // the tile is there, and nobody reads the one before
    const int next = tile + kStages - 1;
    if (next < tiles) reader.load(stages[next % kStages]);
    end_group_of_copies();
    sums.add(stages[tile % kStages], sum_weights);
    if ((tile + 1) % (kLongestSum / kTileDepth) == 0) sums.carry();
  }
}

template <int kWidth, bool is_signed, typename Total>
__global__ void __launch_bounds__(kThreads)
    multiply_windows(WindowSource source, TileGrid grid, int32_t zero_point, ProductOutput out) {
  __shared__ CodeTiles stages[kStages];
  __shared__ int32_t filter_sums[kTileFilters];
  for (int64_t tile = blockIdx.x; tile < grid.tiles(); tile += gridDim.x) {
    const TilePlace place = grid.at(tile);
    WindowReader<kWidth> reader(source, place);
    TileSums<is_signed, Total> sums;
    multiply_depth(reader, source.depth, zero_point != 0, stages, sums);
    sums.store(out, place, zero_point, filter_sums);
  }
}

struct Job {
  const char* op;
  const CodeMatrix& matrix;
  const int8_t* weight;
  const ConvShape& shape;
  float* out;
  cudaStream_t stream;
};

int64_t depth_of(const ConvShape& s) {
  return s.channels / s.groups * s.kernel[0] * s.kernel[1] * s.kernel[2];
}

int64_t rows_of(const ConvShape& s) { return s.batch * s.out[0] * s.out[1] * s.out[2]; }

// Coordinates, the depth and places in an image are computed in 32 bits, up to two tiles beyond the
// end.
bool fits_32_bits(const ConvShape& s) {
  constexpr int64_t kLarge = 1 << 29;
  if (s.channels > kLarge) return false;
  int64_t image = s.channels;
  for (int axis = 0; axis < 3; ++axis) {
    const auto most = std::max({s.in[axis], s.out[axis], s.kernel[axis], s.stride[axis],
                                s.padding[axis], s.dilation[axis]});
    if (most > kLarge) return false;
    const int64_t last_corner = s.out[axis] * s.stride[axis] + s.padding[axis];
    const int64_t reach = (s.kernel[axis] + 2 * kTileDepth) * s.dilation[axis];
    image *= s.in[axis];
    if (std::max({last_corner, reach, image}) > kLarge) return false;
  }
  // The sum of the weights is one of 32 bits: 2^24 products of magnitude 2^7.
  return depth_of(s) <= int64_t{1} << 24;
}

// A product on tensor cores takes eight filters and codes by the word: narrower groups, such as
// those of a depthwise convolution, would multiply mostly zeros. A transposed convolution would
// gather zeros, stride^2 for each code.
bool uses_tensor_cores(const ConvShape& s) {
  const bool wide = s.channels / s.groups >= 4 && s.filters / s.groups >= kMmaColumns;
  return !s.transposed && (s.groups == 1 || wide) && depth_of(s) > 0 && fits_32_bits(s);
}

template <int kWidth, bool is_signed, typename Total>
void start_tiles(const Job& job) {
  const ConvShape& s = job.shape;
  const int32_t zero_point = job.matrix.zero_point;
  const TileGrid grid{rows_of(s), s.filters / s.groups, s.groups};
  const WindowSource source{.shape = s,
                            .codes = job.matrix.codes,
                            .weight = job.weight,
                            .channels = static_cast<int32_t>(s.channels / s.groups),
                            .depth = static_cast<int32_t>(depth_of(s)),
                            .outside = 0x01010101u * static_cast<uint8_t>(zero_point)};
  const bool pairs = grid.filters % 2 == 0 && reinterpret_cast<uintptr_t>(job.out) % 8 == 0;
  launch_blocks(job.op, multiply_windows<kWidth, is_signed, Total>, grid.tiles(), job.stream,
                source, grid, zero_point, ProductOutput{job.out, s.filters, pairs});
}

template <int kWidth>
void start_tiles(const Job& job) {
  const bool is_long = depth_of(job.shape) > kLongestSum;
  if (job.matrix.is_signed) {
    is_long ? start_tiles<kWidth, true, int64_t>(job) : start_tiles<kWidth, true, int32_t>(job);
  } else {
    is_long ? start_tiles<kWidth, false, int64_t>(job) : start_tiles<kWidth, false, int32_t>(job);
  }
}

void start_direct(const Job& job, bool words) {
  const int64_t results = rows_of(job.shape) * job.shape.filters;
  launch(job.op, convolve, results, job.stream, job.shape, job.matrix.codes,
         signed_codes(job.matrix.is_signed, job.matrix.zero_point), job.weight, words, results,
         job.out);
}

}  // namespace

void window_products(const char* op, const CodeMatrix& matrix, const int8_t* weight,
                     const ConvShape& shape, float* out, cudaStream_t stream) {
  const Job job{op, matrix, weight, shape, out, stream};
  const auto bits = reinterpret_cast<uintptr_t>(matrix.codes) |
                    reinterpret_cast<uintptr_t>(weight) |
                    static_cast<uintptr_t>(shape.channels / shape.groups);
  if (!uses_tensor_cores(shape)) {
    start_direct(job, bits % 4 == 0);
  } else if (bits % 16 == 0) {
    start_tiles<16>(job);
  } else if (bits % 4 == 0) {
    start_tiles<4>(job);
  } else {
    start_tiles<1>(job);
  }
}

}  // namespace qat::kernels::cuda
