#include "matrices.h"

#include <cstring>

#include "shared_memory.h"

namespace qat::emulation {
namespace {

constexpr int kRows = 16, kColumns = 8, kDepth = 32;

// What a lane holds, in the order of its registers: the lowest byte of a register comes first.
struct Fragments {
  uint8_t left[16];
  int8_t right[8];
};
static_assert(sizeof(Fragments) <= kMessage);

struct Matrices {
  uint8_t left[kRows][kDepth];
  int8_t right[kColumns][kDepth];  // transposed
};

// The formulas of "Matrix Fragments for mma.m16n8k32" in NVIDIA's PTX ISA, 8-bit types: groupID is
// the lane divided by 4, threadID_in_group the remainder.
void place_left(const Fragments& fragments, int lane, Matrices& matrices) {
  const int group = lane >> 2, in_group = lane % 4;
  for (int i = 0; i < 16; ++i) {
    const bool upper = i < 4 || (i >= 8 && i < 12);
    const int row = upper ? group : group + 8;
    const int depth = in_group * 4 + (i & 3) + (i < 8 ? 0 : 16);
    matrices.left[row][depth] = fragments.left[i];
  }
}

void place_right(const Fragments& fragments, int lane, Matrices& matrices) {
  const int group = lane >> 2, in_group = lane % 4;
  for (int i = 0; i < 8; ++i) {
    const int depth = in_group * 4 + (i & 3) + (i < 4 ? 0 : 16);
    matrices.right[group][depth] = fragments.right[i];
  }
}

// The rows and columns that meet in the sums of lane `own`.
Matrices gather(const Message* messages, int own) {
  Matrices matrices;
  for (int lane = 0; lane < static_cast<int>(kWarp); ++lane) {
    Fragments fragments;
    std::memcpy(&fragments, messages[lane].bytes, sizeof fragments);
    if (lane >> 2 == own >> 2) place_left(fragments, lane, matrices);
    if (lane >> 3 == own % 4) place_right(fragments, lane, matrices);
  }
  return matrices;
}

template <typename Code>
int product(const uint8_t (&codes)[kDepth], const int8_t (&weights)[kDepth]) {
  int sum = 0;
  for (int k = 0; k < kDepth; ++k) sum += static_cast<Code>(codes[k]) * weights[k];
  return sum;
}

}  // namespace

void multiply_16x8x32(int32_t (&sums)[4], const uint32_t (&left)[4], const uint32_t (&right)[2],
                      bool is_signed, const Site& site) {
  Fragments own;
  std::memcpy(own.left, left, sizeof own.left);
  std::memcpy(own.right, right, sizeof own.right);
  const Message* messages = meet_warp(&own, sizeof own, site);
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const Matrices matrices = gather(messages, lane);
  for (int i = 0; i < 4; ++i) {
    const auto& codes = matrices.left[(lane >> 2) + (i < 2 ? 0 : 8)];
    const auto& weights = matrices.right[lane % 4 * 2 + (i & 1)];
    const int sum = is_signed ? product<int8_t>(codes, weights) : product<uint8_t>(codes, weights);
    if (__builtin_add_overflow(sums[i], sum, &sums[i])) report("mma: the sum leaves int32");
  }
}

void load_matrices(uint32_t (&words)[4], const void* row, const Site& site) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) {
    report("ldmatrix: expected addresses that are multiples of 16");
  }
  if (!is_shared(row, 16)) report("ldmatrix: expected a __shared__ variable");
  const Message* messages = meet_warp(&row, sizeof row, site);
  const unsigned lane = threadIdx.x % kWarp;
  for (unsigned matrix = 0; matrix < 4; ++matrix) {
    const std::byte* from;
    std::memcpy(&from, messages[8 * matrix + lane / 4].bytes, sizeof from);
    std::memcpy(&words[matrix], from + 4 * (lane % 4), 4);
  }
}

}  // namespace qat::emulation
