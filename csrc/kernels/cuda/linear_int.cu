// Integer matrix product: a convolution of images of one pixel.

#include "kernels/cuda/window_products.h"

namespace qat::kernels::cuda {

void linear_int(const CodeMatrix& matrix, const int8_t* weight, int64_t rows, int64_t filters,
                int64_t depth, float* out, cudaStream_t stream) {
  const ConvShape shape{.batch = rows, .channels = depth, .filters = filters};
  window_products("linear_int", matrix, weight, shape, out, stream);
}

}  // namespace qat::kernels::cuda
