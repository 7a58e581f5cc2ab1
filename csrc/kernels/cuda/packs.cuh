#pragma once
// Elements in packs, so that aligned memory moves in 128-bit words.

#include "kernels/cuda/launch.cuh"

namespace qat::kernels::cuda {

constexpr int kFloats = 4;  // in 128 bits
constexpr int kCodes = 16;

template <typename T, int n>
struct alignas(sizeof(T) * n) Pack {
  T v[n];
};

template <int n, typename T>
__device__ __forceinline__ Pack<T, n> load(const T* from) {
  return *reinterpret_cast<const Pack<T, n>*>(from);
}

template <typename T, int n>
__device__ __forceinline__ void store(T* to, const Pack<T, n>& pack) {
  *reinterpret_cast<Pack<T, n>*>(to) = pack;
}

// Null counts as aligned.
template <typename... Pointers>
bool aligned_128(const Pointers*... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

// Calls body.operator()<count>(i) so that the calls of all threads cover 0..n: packs of kPack where
// the memory is aligned, single elements in the rest.
template <int kPack, typename Body>
__device__ __forceinline__ void for_each_pack(int64_t n, bool aligned, const Body& body) {
  const int64_t first = first_item(), step = item_step();
  const int64_t packed = aligned ? n / kPack * kPack : 0;
  for (int64_t i = first * kPack; i < packed; i += step * kPack) {
    body.template operator()<kPack>(i);
  }
  for (int64_t i = packed + first; i < n; i += step) body.template operator()<1>(i);
}

// The 64-bit remainder costs about five times the 32-bit one.
__device__ __forceinline__ int64_t remainder_of(int64_t i, int64_t n) {
  if (((i | n) >> 32) != 0) return i % n;
  return static_cast<uint32_t>(i) % static_cast<uint32_t>(n);
}

__device__ __forceinline__ int64_t quotient_of(int64_t i, int64_t n) {
  if (((i | n) >> 32) != 0) return i / n;
  return static_cast<uint32_t>(i) / static_cast<uint32_t>(n);
}

}  // namespace qat::kernels::cuda
