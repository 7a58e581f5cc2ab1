// Rule 9 of docs/numerics.md.

#include "kernels/cuda/parameters.cuh"
#include "numerics/requantize.h"

namespace qat::kernels::cuda {
namespace {

__global__ void __launch_bounds__(kThreads)
    fold(BatchNormChannels bn, int64_t channels, float* multiplier, float* bias) {
  for (int64_t c = first_item(); c < channels; c += item_step()) {
    const numerics::BatchNormChannel channel{at(bn.gamma, c), at(bn.beta, c), at(bn.mean, c),
                                             at(bn.variance, c)};
    const auto folded =
        numerics::fold_batch_norm(at(bn.multiplier, c), at(bn.bias, c), channel, bn.eps);
    multiplier[c] = folded.multiplier;
    bias[c] = folded.bias;
  }
}

}  // namespace

void fold_batch_norm(const BatchNormChannels& bn, int64_t channels, float* multiplier, float* bias,
                     cudaStream_t stream) {
  launch("fold_batch_norm", fold, channels, stream, bn, channels, multiplier, bias);
}

}  // namespace qat::kernels::cuda
