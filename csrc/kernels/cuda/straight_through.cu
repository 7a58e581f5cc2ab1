// Rule 4 of docs/numerics.md as one bit per element: written beside the result of rules 2 and 3,
// and applied to a gradient.

#include "kernels/cuda/parameters.cuh"
#include "kernels/cuda/reduce.cuh"

namespace qat::kernels::cuda {
namespace {

constexpr int kBits = 8;
static_assert(kBits == 2 * kFloats);

// Calls body.operator()<count>(i, bit) so that each thread gets the elements of whole bytes in
// turn: two packs where the memory is aligned, else single elements. bit: that of element i in its
// byte. close(byte) follows the elements of a byte.
template <typename Body, typename Close>
__device__ __forceinline__ void for_each_byte(int64_t n, bool aligned, const Body& body,
                                              const Close& close) {
  for (int64_t byte = first_item(); byte * kBits < n; byte += item_step()) {
    const int64_t first = byte * kBits;
    if (aligned && first + kBits <= n) {
      body.template operator()<kFloats>(first, 0);
      body.template operator()<kFloats>(first + kFloats, kFloats);
    } else {
      const int64_t left = n - first;
      for (int k = 0; k < kBits && k < left; ++k) body.template operator()<1>(first + k, k);
    }
    close(byte);
  }
}

__global__ void __launch_bounds__(kThreads)
    to_reals(ChannelQuantizer quantizer, Elements elements, const float* x, float* out,
             uint8_t* mask, bool aligned) {
  const QuantizerReader reader(quantizer);
  uint32_t bits = 0;
  for_each_byte(
      elements.count, aligned,
      [&]<int n>(int64_t i, int bit) {
        auto pack = load<n>(x + i);
#pragma unroll
        for (int k = 0; k < n; ++k) {
          const CodeParameters p = reader.at_channel(channel_of(elements, i + k));
          bits |= (p.passes(pack.v[k]) ? 1u : 0u) << (bit + k);
          pack.v[k] = p.dequantize(p.quantize(pack.v[k]));
        }
        store(out + i, pack);
      },
      [&](int64_t byte) {
        mask[byte] = static_cast<uint8_t>(bits);
        bits = 0;
      });
}

__global__ void __launch_bounds__(kThreads) to_codes(ChannelQuantizer quantizer, Elements elements,
                                                     const float* x, MaskedCodes to, bool aligned) {
  const QuantizerReader reader(quantizer);
  RangeKeys keys;
  uint32_t bits = 0;
  for_each_byte(
      elements.count, aligned,
      [&]<int n>(int64_t i, int bit) {
        const auto values = load<n>(x + i);
        Pack<uint8_t, n> pack;
#pragma unroll
        for (int k = 0; k < n; ++k) {
          const CodeParameters p = reader.at_channel(channel_of(elements, i + k));
          include(keys, values.v[k]);
          bits |= (p.passes(values.v[k]) ? 1u : 0u) << (bit + k);
          pack.v[k] = static_cast<uint8_t>(p.quantize(values.v[k]));
        }
        store(to.codes + i, pack);
      },
      [&](int64_t byte) {
        to.mask[byte] = static_cast<uint8_t>(bits);
        bits = 0;
      });
  keys = block_merge(keys);
  if (threadIdx.x == 0) to.keys[blockIdx.x] = keys;
}

__global__ void __launch_bounds__(kThreads)
    apply(const float* grad, const uint8_t* mask, float* out, int64_t n, bool aligned) {
  for_each_byte(
      n, aligned,
      [&]<int count>(int64_t i, int bit) {
        auto pack = load<count>(grad + i);
        const uint32_t bits = static_cast<uint32_t>(mask[i / kBits]) >> bit;
#pragma unroll
        for (int k = 0; k < count; ++k) {
          if ((bits >> k & 1) == 0) pack.v[k] = 0.0f;
        }
        store(out + i, pack);
      },
      [](int64_t) {});
}

}  // namespace

void fake_quantize_with_mask(const ChannelQuantizer& quantizer, const Elements& elements,
                             const float* x, float* out, uint8_t* mask, cudaStream_t stream) {
  launch("fake_quantize_with_mask", to_reals, divide_up(elements.count, kBits), stream, quantizer,
         elements, x, out, mask, aligned_128(x, out));
}

int64_t mask_parts(int64_t count) {
  return std::min(divide_up(divide_up(count, kBits), kThreads), kMostThreadBlocks);
}

void quantize_with_mask(const ChannelQuantizer& quantizer, const Elements& elements, const float* x,
                        const MaskedCodes& to, cudaStream_t stream) {
  constexpr const char* kOp = "quantize_with_mask";
  launch(kOp, to_codes, divide_up(elements.count, kBits), stream, quantizer, elements, x, to,
         aligned_128(x, to.codes));
  launch_blocks(kOp, merge_parts, 1, stream, to.keys, mask_parts(elements.count), to.range);
}

void straight_through(const float* grad, const uint8_t* mask, float* out, int64_t n,
                      cudaStream_t stream) {
  launch("straight_through", apply, divide_up(n, kBits), stream, grad, mask, out, n,
         aligned_128(grad, out));
}

}  // namespace qat::kernels::cuda
