// Rule 11 of docs/numerics.md: table[code - quant_min].

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/packs.cuh"
#include "numerics/code_table.h"

namespace qat::kernels::cuda {
namespace {

constexpr int kBytes = 256;
static_assert(kBytes == kThreads, "each thread of a block fills one entry");

// One entry for each bit pattern of a code byte.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    look_up(LookupTable table, const uint8_t* codes, int64_t n, T* out, bool aligned) {
  __shared__ T wide[kBytes];
  const auto byte = static_cast<uint8_t>(threadIdx.x);
  wide[byte] = static_cast<const T*>(
      table.values)[numerics::entry_of_byte(byte, table.is_signed, table.quant_min, table.entries)];
  __syncthreads();
  constexpr int kPack = kCodes / static_cast<int>(sizeof(T));
  for_each_pack<kPack>(n, aligned, [&]<int count>(int64_t i) {
    const auto from = load<count>(codes + i);
    Pack<T, count> to;
#pragma unroll
    for (int k = 0; k < count; ++k) to.v[k] = wide[from.v[k]];
    store(out + i, to);
  });
}

template <typename T>
void start(const LookupTable& table, const uint8_t* codes, int64_t n, void* out,
           cudaStream_t stream) {
  const int64_t packs = divide_up(n * static_cast<int64_t>(sizeof(T)), kCodes);
  launch("lookup", look_up<T>, packs, stream, table, codes, n, static_cast<T*>(out),
         aligned_128(codes, static_cast<const T*>(out)));
}

}  // namespace

void lookup(const LookupTable& table, const uint8_t* codes, int64_t n, void* out,
            cudaStream_t stream) {
  if (table.is_float) {
    start<float>(table, codes, n, out, stream);
  } else {
    start<uint8_t>(table, codes, n, out, stream);
  }
}

}  // namespace qat::kernels::cuda
