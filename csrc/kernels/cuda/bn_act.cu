#include "kernels/cuda/chain.cuh"

namespace qat::kernels::cuda {
namespace {

__global__ void __launch_bounds__(kThreads) to_float(ChannelChain chain, float* out, bool aligned) {
  for_each_pack<kFloats>(chain.count, aligned, [&]<int n>(int64_t i) {
    const auto s = load_stretch<n>(chain, i);
    Pack<float, n> pack;
#pragma unroll
    for (int k = 0; k < n; ++k) pack.v[k] = activated(chain, s.value[k], s.channel[k]);
    store(out + i, pack);
  });
}

}  // namespace

void bn_act(const ChannelChain& chain, float* out, cudaStream_t stream) {
  launch("bn_act", to_float, divide_up(chain.count, kFloats), stream, chain, out,
         inputs_aligned(chain) && aligned_128(out));
}

}  // namespace qat::kernels::cuda
