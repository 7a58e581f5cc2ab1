// The end of a chain and rule 2 of docs/numerics.md in one pass, with the range of its values.

#include "kernels/cuda/chain.cuh"
#include "kernels/cuda/reduce.cuh"

namespace qat::kernels::cuda {
namespace {

// parts: one entry per thread block.
template <bool observe>
__global__ void __launch_bounds__(kThreads)
    to_codes(ChannelChain chain, uint8_t* codes, RangeKeys* parts, bool aligned) {
  const QuantizerReader reader(chain.quantizer);
  RangeKeys keys;
  for_each_pack<kFloats>(chain.count, aligned, [&]<int n>(int64_t i) {
    const auto s = load_stretch<n>(chain, i);
    Pack<uint8_t, n> pack;
#pragma unroll
    for (int k = 0; k < n; ++k) {
      const float result = activated(chain, s.value[k], s.channel[k]);
      if constexpr (observe) include(keys, result);
      pack.v[k] = static_cast<uint8_t>(reader.at_channel(s.channel[k]).quantize(result));
    }
    store(codes + i, pack);
  });
  if constexpr (observe) {
    keys = block_merge(keys);
    if (threadIdx.x == 0) parts[blockIdx.x] = keys;
  }
}

}  // namespace

int64_t range_parts(const ChannelChain& chain) {
  return std::min(divide_up(divide_up(chain.count, kFloats), kThreads), kMostThreadBlocks);
}

void bn_act_quantize(const ChannelChain& chain, uint8_t* codes, RangeKeys* keys, float* range,
                     cudaStream_t stream) {
  constexpr const char* kOp = "bn_act_quantize";
  const int64_t packs = divide_up(chain.count, kFloats);
  const bool aligned = inputs_aligned(chain) && aligned_128(codes);
  if (keys == nullptr) {
    launch(kOp, to_codes<false>, packs, stream, chain, codes, keys, aligned);
    return;
  }
  launch(kOp, to_codes<true>, packs, stream, chain, codes, keys, aligned);
  launch_blocks(kOp, merge_parts, 1, stream, keys, range_parts(chain), range);
}

}  // namespace qat::kernels::cuda
