// Integer matrix product, one tile of the result per thread block. Tensor cores are not used yet.

#include "kernels/cuda/code_sums.cuh"
#include "kernels/cuda/kernels.h"
#include "numerics/arith.h"

namespace qat::kernels::cuda {
namespace {

constexpr int kTile = 16;  // rows, filters, and words of four codes
constexpr int kTileDepth = 4 * kTile;
static_assert(kTile * kTile == kThreads && kTileDepth <= kLongestSum);

// Four bytes from the k-th of a row; zeros beyond its end. A zero weight makes any code harmless.
__device__ __forceinline__ int32_t word_at(const uint8_t* row, int64_t k, int64_t depth,
                                           bool whole) {
  if (whole && k + 4 <= depth) return *reinterpret_cast<const int32_t*>(row + k);
  uint32_t word = 0;
  for (int byte = 0; byte < 4; ++byte) {
    if (k + byte < depth) word |= static_cast<uint32_t>(row[k + byte]) << (8 * byte);
  }
  return static_cast<int32_t>(word);
}

struct LinearShape {
  int64_t rows, filters, depth;
  bool whole;  // rows begin at multiples of four bytes
};

__global__ void __launch_bounds__(kThreads)
    multiply(const uint8_t* codes, SignedCodes kind, const uint8_t* weight, LinearShape shape,
             float* out) {
  __shared__ int32_t left[kTile][kTile + 1], right[kTile][kTile + 1];
  const int x = threadIdx.x % kTile, y = threadIdx.x / kTile;
  const int64_t across = divide_up(shape.filters, kTile);
  const int64_t tiles = divide_up(shape.rows, kTile) * across, depth = shape.depth;
  for (int64_t t = blockIdx.x; t < tiles; t += gridDim.x) {
    const int64_t first_row = t / across * kTile, first_filter = t % across * kTile;
    const int64_t row = first_row + y, filter = first_filter + y;  // that this thread loads
    int64_t sum = 0;
    for (int64_t d = 0; d < depth; d += kTileDepth) {
      const int64_t k = d + 4 * x;
      const bool has_row = row < shape.rows, has_filter = filter < shape.filters;
      const int32_t q = has_row ? word_at(codes + row * depth, k, depth, shape.whole) : 0;
      left[y][x] = static_cast<int32_t>(static_cast<uint32_t>(q) ^ kind.flip);
      right[y][x] = has_filter ? word_at(weight + filter * depth, k, depth, shape.whole) : 0;
      __syncthreads();
      CodeSums sums;
#pragma unroll
      for (int i = 0; i < kTile; ++i) sums.add_four(left[y][i], right[x][i]);
      sum += sums.centred(kind.zero_point);
      __syncthreads();
    }
    const int64_t column = first_filter + x;
    if (row < shape.rows && column < shape.filters) {
      out[row * shape.filters + column] = numerics::to_float(sum);
    }
  }
}

}  // namespace

void linear_int(const CodeMatrix& matrix, const int8_t* weight, int64_t rows, int64_t filters,
                int64_t depth, float* out, cudaStream_t stream) {
  const auto address =
      reinterpret_cast<uintptr_t>(matrix.codes) | reinterpret_cast<uintptr_t>(weight);
  const bool whole = depth % 4 == 0 && address % 4 == 0;
  const int64_t tiles = divide_up(rows, kTile) * divide_up(filters, kTile);
  launch_blocks("linear_int", multiply, tiles, stream, matrix.codes,
                signed_codes(matrix.is_signed, matrix.zero_point),
                reinterpret_cast<const uint8_t*>(weight), LinearShape{rows, filters, depth, whole},
                out);
}

}  // namespace qat::kernels::cuda
