#pragma once
// Exact u8 x s8 -> s32 products with a fused epilogue, for inference.
//
// Note [Tiles]
// A convolution is computed from pointers: for each output position one pointer to the first
// input byte of its window, and for each kernel tap an offset that all positions share. A linear
// layer is the case of one tap. A tile holds `rows` positions times `vectors` channel vectors in
// registers; one step reads four bytes per position: four u8 channels for vpdpbusd, or two
// channels widened to int16 for vpmaddwd. vpmaddubsw is not used: it saturates at
// 2 * 255 * 127 > 32767. Sums wrap modulo 2^32, so a code's zero point may be taken out afterwards:
// the centred result fits by rule 6.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/cpu/gemm_u8s8_epilogue.h"

namespace qat::kernels::u8s8 {

enum class InstructionSet { portable, avx2, avx512_vnni, neon, neon_dotprod, neon_i8mm };

bool is_supported(InstructionSet set);
// Those of this machine, the fastest first; the last one is `portable`.
const std::vector<InstructionSet>& instruction_sets();
InstructionSet best_instruction_set();
const char* to_string(InstructionSet set);

struct Tile {
  const uint8_t* const* positions = nullptr;  // one pointer per row
  const int64_t* tap_offsets = nullptr;       // in bytes
  int64_t taps = 0;
  int64_t steps = 0;  // of four bytes, per tap
  const std::byte* weights = nullptr;
  const int32_t* start = nullptr;  // [vectors * lanes], where every row's sums begin
  int32_t* acc = nullptr;          // [rows][vectors * lanes]
};

// A tile of depthwise outputs: acc[row][c] = start[c] + sum over taps of
// x[c] * weight[tap][c].
struct DepthwiseTile {
  const uint8_t* const* positions = nullptr;
  const int64_t* tap_offsets = nullptr;
  int64_t taps = 0;
  int64_t rows = 0;
  int64_t width = 0;                 // channels, a multiple of kDepthwiseLanes
  const int32_t* weights = nullptr;  // [taps][weight_stride]
  int64_t weight_stride = 0;
  const int32_t* start = nullptr;  // [width]
  int32_t* acc = nullptr;          // [rows][width]
};

struct DepthwiseQuads;  // depthwise_quads.h

constexpr int64_t kDepthwiseLanes = 16;
constexpr int64_t kDepthwiseWidth = 64;
constexpr int64_t kDepthwiseRows = 6;
constexpr int64_t kMaxTileElements = 384;  // rows * vectors * lanes of the largest tile
constexpr int kMaxVectors = 4;
constexpr int kMaxRows = 12;

// The functions of one instruction set.
struct Kernels {
  InstructionSet set;
  int64_t lanes;              // channels per vector
  int64_t channels_per_step;  // 4: u8 source; 2: int16 source
  int max_vectors;
  int max_rows[kMaxVectors + 1];                             // by number of vectors
  void (*tile[kMaxVectors + 1][kMaxRows + 1])(const Tile&);  // [vectors][rows]
  void (*depthwise)(const DepthwiseTile&);
  void (*epilogue)(const Epilogue&, const EpilogueTile&);
  void (*depthwise_quads)(const DepthwiseQuads&);  // or null
  int32_t code_offset = 0;  // the tiles multiply codes less this (Note [Codes less 128])

  int64_t source_bytes() const { return 4 / channels_per_step; }  // per channel
};

const Kernels& kernels_for(InstructionSet set);
const Kernels& portable_kernels();
#if defined(__x86_64__)
const Kernels& avx2_kernels();
const Kernels& avx512_vnni_kernels();
#elif defined(__aarch64__)
const Kernels& neon_kernels();
const Kernels& neon_dotprod_kernels();
const Kernels& neon_i8mm_kernels();
#endif

// Memory on a 64-byte boundary.
class AlignedBytes {
 public:
  AlignedBytes() = default;
  explicit AlignedBytes(size_t size);
  std::byte* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(std::byte* p) const;
  };
  std::unique_ptr<std::byte, Free> data_;
};

// A block of consecutive output channels that one tile covers.
struct ChannelBlock {
  int64_t first = 0;  // channel within the group
  int64_t count = 0;
  int vectors = 0;
  size_t offset = 0;  // bytes into the packed weights
};

// Weights of one layer, packed once: [group][block][tap][step][vector][lane][channel of the step].
// Missing channels hold zero.
struct PackedWeights {
  const Kernels* kernels = nullptr;
  int64_t groups = 1, outputs = 0, inputs = 0, taps = 0, steps = 0;
  std::vector<ChannelBlock> blocks;  // of one group
  size_t group_bytes = 0;
  AlignedBytes bytes;

  int64_t padded_inputs() const { return steps * kernels->channels_per_step; }
};

// Weights where they lie: (filter, channel, tap) is data[filter * filter_stride + ...].
struct WeightView {
  const int8_t* data = nullptr;
  int64_t filter_stride = 0, channel_stride = 0, tap_stride = 0;
};

// Packs groups * outputs filters of inputs * taps elements into a layer whose sizes are set.
void pack_weights(PackedWeights& packed, const WeightView& weight, int threads);

}  // namespace qat::kernels::u8s8
