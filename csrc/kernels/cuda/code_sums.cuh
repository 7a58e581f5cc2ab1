#pragma once
// Exact sums of products of codes (rule 6 of docs/numerics.md).

#include "kernels/cuda/packs.cuh"

namespace qat::kernels::cuda {

// Note [Codes for dp4a]
// The dot-product instruction takes signed bytes. uint8 codes and their zero point both move down
// by 128, which flips the top bit of each byte and leaves every difference q - zp as it was. Then
// sum((q - zp) w) = sum(q w) - zp sum(w).
constexpr uint32_t kTopBits = 0x80808080u;
// 2^17 products of magnitude 2^14 reach the end of int32; longer sums go on in 64 bits.
constexpr int64_t kLongestSum = 1 << 16;

struct SignedCodes {
  uint32_t flip;  // 0 or kTopBits
  int32_t zero_point;
};

inline SignedCodes signed_codes(bool is_signed, int32_t zero_point) {
  if (is_signed) return {0, zero_point};
  return {kTopBits, zero_point - 128};
}

// sum(q w) and sum(w) of at most kLongestSum products.
struct CodeSums {
  int32_t products = 0, weights = 0;

  __device__ __forceinline__ void add_four(int32_t codes, int32_t weight) {
    products = __dp4a(codes, weight, products);
    weights = __dp4a(0x01010101, weight, weights);
  }
  __device__ __forceinline__ void add_one(int32_t code, int32_t weight) {
    products += code * weight;
    weights += weight;
  }
  __device__ __forceinline__ int64_t centred(int32_t zero_point) const {
    return products - static_cast<int64_t>(zero_point) * weights;
  }
};

}  // namespace qat::kernels::cuda
