// Rules 2 to 4 of docs/numerics.md: real -> code -> real, and its straight-through gradient.

#include "kernels/cuda/parameters.cuh"

namespace qat::kernels::cuda {
namespace {

__global__ void __launch_bounds__(kThreads) forward(ChannelQuantizer quantizer, Elements elements,
                                                    const float* x, float* out, bool aligned) {
  const QuantizerReader reader(quantizer);
  for_each_pack<kFloats>(elements.count, aligned, [&]<int n>(int64_t i) {
    auto pack = load<n>(x + i);
#pragma unroll
    for (int k = 0; k < n; ++k) {
      const CodeParameters p = reader.at_channel(channel_of(elements, i + k));
      pack.v[k] = p.dequantize(p.quantize(pack.v[k]));
    }
    store(out + i, pack);
  });
}

__global__ void __launch_bounds__(kThreads)
    backward(ChannelQuantizer quantizer, Elements elements, const float* grad, const float* x,
             float* out, bool aligned) {
  const QuantizerReader reader(quantizer);
  for_each_pack<kFloats>(elements.count, aligned, [&]<int n>(int64_t i) {
    auto pack = load<n>(grad + i);
    const auto values = load<n>(x + i);
#pragma unroll
    for (int k = 0; k < n; ++k) {
      const CodeParameters p = reader.at_channel(channel_of(elements, i + k));
      if (!p.passes(values.v[k])) pack.v[k] = 0.0f;
    }
    store(out + i, pack);
  });
}

}  // namespace

void fake_quantize(const ChannelQuantizer& quantizer, const Elements& elements, const float* x,
                   float* out, cudaStream_t stream) {
  launch("fake_quantize", forward, divide_up(elements.count, kFloats), stream, quantizer, elements,
         x, out, aligned_128(x, out));
}

void fake_quantize_backward(const ChannelQuantizer& quantizer, const Elements& elements,
                            const float* grad, const float* x, float* out, cudaStream_t stream) {
  launch("fake_quantize_backward", backward, divide_up(elements.count, kFloats), stream, quantizer,
         elements, grad, x, out, aligned_128(grad, x, out));
}

}  // namespace qat::kernels::cuda
