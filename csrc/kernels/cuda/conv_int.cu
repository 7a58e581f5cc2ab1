#include "kernels/cuda/window_products.h"

namespace qat::kernels::cuda {

void conv_int(const CodeMatrix& matrix, const int8_t* weight, const ConvShape& shape, float* out,
              cudaStream_t stream) {
  window_products("conv_int", matrix, weight, shape, out, stream);
}

}  // namespace qat::kernels::cuda
