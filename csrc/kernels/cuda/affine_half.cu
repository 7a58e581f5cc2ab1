// The accumulators of a chain as float16 values of an affine map, and whether all of them have one.

#include <cuda_fp16.h>

#include "kernels/cuda/chain.cuh"

namespace qat::kernels::cuda {
namespace {

constexpr float kLargestHalf = 65504.0f;

// Every thread that writes `fits` writes the same.
__global__ void __launch_bounds__(kThreads)
    to_half(ChannelChain chain, __half* out, bool* fits, bool aligned) {
  for_each_pack<kFloats>(chain.count, aligned, [&]<int n>(int64_t i) {
    const auto s = load_stretch<n>(chain, i);
    Pack<__half, n> pack;
#pragma unroll
    for (int k = 0; k < n; ++k) {
      const float value = s.value[k];
      if (!(value >= -kLargestHalf && value <= kLargestHalf)) *fits = false;
      pack.v[k] = __float2half_rn(value);
    }
    store(out + i, pack);
  });
}

}  // namespace

void affine_half(const ChannelChain& chain, void* out, bool* fits, cudaStream_t stream) {
  auto* half = static_cast<__half*>(out);
  launch("affine_half", to_half, divide_up(chain.count, kFloats), stream, chain, half, fits,
         inputs_aligned(chain) && aligned_128(half));
}

}  // namespace qat::kernels::cuda
