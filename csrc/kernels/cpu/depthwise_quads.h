#pragma once
// Depthwise convolutions four taps at a time.
//
// Note [Quads]
// Four taps of a block of 64 or 32 channels are interleaved byte by byte, so that one vpdpbusd adds
// four products to each channel: per 64 outputs of a 3x3 kernel 3 loads, 8 shuffles and 12
// products, against 36 widening loads and 36 products of the plain kernel. A block that would
// reach beyond the last channel begins earlier and computes some channels twice, to the same bytes.

#include <cstdint>
#include <vector>

#include "kernels/cpu/gemm_u8s8.h"

namespace qat::kernels::u8s8 {

struct DepthwiseQuads {
  const uint8_t* const* positions = nullptr;
  const int64_t* tap_offsets = nullptr;  // [quads][4]
  int64_t quads = 0;
  bool three_columns = false;  // a 3x3 kernel, one quad per column
  int64_t rows = 0;
  int64_t width = 0;    // 64 or 32 channels
  int64_t channel = 0;  // the first one
  const int8_t* weights = nullptr;
  const int32_t* start = nullptr;  // [width]
  int32_t* acc = nullptr;          // [rows][width]
};

#if defined(__x86_64__)
void depthwise_quads_avx512_vnni(const DepthwiseQuads& tile);
#endif

// The weights of one layer.
struct PackedQuads {
  int64_t width = 0;  // 0: not possible
  bool three_columns = false;
  std::vector<int64_t> taps;      // tap of each slot; a slot without one repeats another's
  std::vector<int64_t> channels;  // first channel of each block
  AlignedBytes weights;           // [block][quad][width * 4]

  int64_t quads() const { return static_cast<int64_t>(taps.size()) / 4; }
  const int8_t* block(size_t i) const {
    const size_t bytes = taps.size() * static_cast<size_t>(width);
    return reinterpret_cast<const int8_t*>(weights.data()) + i * bytes;
  }
};

// weight: [channels][kernel_h * kernel_w].
PackedQuads pack_quads(const int8_t* weight, int64_t channels, int64_t kernel_h, int64_t kernel_w);

}  // namespace qat::kernels::u8s8
