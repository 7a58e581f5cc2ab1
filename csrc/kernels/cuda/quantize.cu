// Rules 2 and 3 of docs/numerics.md.

#include "kernels/cuda/parameters.cuh"

namespace qat::kernels::cuda {
namespace {

__global__ void __launch_bounds__(kThreads) to_codes(ChannelQuantizer quantizer, Elements elements,
                                                     const float* x, uint8_t* codes, bool aligned) {
  const QuantizerReader reader(quantizer);
  for_each_pack<kFloats>(elements.count, aligned, [&]<int n>(int64_t i) {
    const auto values = load<n>(x + i);
    Pack<uint8_t, n> pack;
#pragma unroll
    for (int k = 0; k < n; ++k) {
      const CodeParameters p = reader.at_channel(channel_of(elements, i + k));
      pack.v[k] = static_cast<uint8_t>(p.quantize(values.v[k]));
    }
    store(codes + i, pack);
  });
}

template <typename Code>
__global__ void __launch_bounds__(kThreads) to_real(ChannelQuantizer quantizer, Elements elements,
                                                    const Code* codes, float* x, bool aligned) {
  const QuantizerReader reader(quantizer);
  for_each_pack<kFloats>(elements.count, aligned, [&]<int n>(int64_t i) {
    const auto values = load<n>(codes + i);
    Pack<float, n> pack;
#pragma unroll
    for (int k = 0; k < n; ++k) {
      pack.v[k] = reader.at_channel(channel_of(elements, i + k)).dequantize(values.v[k]);
    }
    store(x + i, pack);
  });
}

}  // namespace

void quantize(const ChannelQuantizer& quantizer, const Elements& elements, const float* x,
              uint8_t* codes, cudaStream_t stream) {
  launch("quantize", to_codes, divide_up(elements.count, kFloats), stream, quantizer, elements, x,
         codes, aligned_128(x, codes));
}

void dequantize(const ChannelQuantizer& quantizer, const Elements& elements, const uint8_t* codes,
                bool is_signed, float* x, cudaStream_t stream) {
  const int64_t packs = divide_up(elements.count, kFloats);
  const bool aligned = aligned_128(codes, x);
  if (is_signed) {
    launch("dequantize", to_real<int8_t>, packs, stream, quantizer, elements,
           reinterpret_cast<const int8_t*>(codes), x, aligned);
  } else {
    launch("dequantize", to_real<uint8_t>, packs, stream, quantizer, elements, codes, x, aligned);
  }
}

}  // namespace qat::kernels::cuda
