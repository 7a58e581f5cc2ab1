// Sums of codes over positions, one thread per channel: threads that are neighbours read
// neighbours.

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.cuh"

namespace qat::kernels::cuda {
namespace {

template <typename T>
__global__ void __launch_bounds__(kThreads)
    add_up(const T* codes, int64_t zero_point, CodeRows rows, int64_t* sums) {
  for (int64_t t = first_item(); t < rows.images * rows.channels; t += item_step()) {
    const int64_t image = t / rows.channels, channel = t % rows.channels;
    const T* from = codes + image * rows.positions * rows.channels + channel;
    int64_t sum = 0;
    for (int64_t p = 0; p < rows.positions; ++p) sum += from[p * rows.channels];
    sums[t] = sum - zero_point * rows.positions;
  }
}

}  // namespace

void sum_codes(const CodeMatrix& matrix, const CodeRows& rows, int64_t* sums, cudaStream_t stream) {
  const int64_t items = rows.images * rows.channels;
  if (matrix.is_signed) {
    launch("sum_codes", add_up<int8_t>, items, stream,
           reinterpret_cast<const int8_t*>(matrix.codes), int64_t{matrix.zero_point}, rows, sums);
  } else {
    launch("sum_codes", add_up<uint8_t>, items, stream, matrix.codes, int64_t{matrix.zero_point},
           rows, sums);
  }
}

}  // namespace qat::kernels::cuda
