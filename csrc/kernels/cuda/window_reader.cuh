#pragma once
// A convolution as a matrix product: the windows of the input are its left rows, gathered tile by
// tile.

#include "kernels/cuda/code_tiles.cuh"
#include "kernels/cuda/kernels.h"

namespace qat::kernels::cuda {

struct WindowSource {
  ConvShape shape;  // whose numbers fit 32 bits
  const uint8_t* codes;
  const int8_t* weight;
  int32_t channels;  // of a group
  int32_t depth;     // channels times kernel positions
  uint32_t outside;  // the zero point in each byte: what padding contributes is centred zero
};

// Loads the tiles of a place one after the other. The depth counts channels, then kernel positions,
// as the weights do. Each thread owns one chunk of a tile's depth, in kRows windows and in one
// filter. Beyond the depth weights are zero, so that the codes there do not matter.
//
// kWidth: bytes that lie together in aligned memory, 16, 4 or 1; a divisor of the group's channels,
// so that they belong to one kernel position.
template <int kWidth>
class WindowReader {
 public:
  __device__ __forceinline__ WindowReader(const WindowSource& source, const TilePlace& place)
      : source_(source) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int row = own_row() + i * kRowStep;
      corners_[i][0] = corners_[i][1] = corners_[i][2] = kNowhere;
      if (row < place.rows) find_window(i, place.first_row + row, place.group);
    }
    filter_ = nullptr;
    if (own_row() < place.filters) {
      filter_ = source.weight + (place.first_filter + own_row()) * source.depth;
    }
    find_pixels();
    advance(own_chunk() * kChunk);
  }

  // Complete after end_group_of_copies() and wait_for_copies().
  __device__ __forceinline__ void load(CodeTiles& to) {
    constexpr int kPiece = kWidth < 4 ? 4 : kWidth;
#pragma unroll 1  // each step has a copy of find_pixels()
    for (int byte = 0; byte < kChunk; byte += kPiece) {
      if constexpr (kWidth < 4) {
        load_bytes(to, byte);
      } else {
        load_piece(to, byte);
      }
    }
    advance(kTileDepth - kChunk);
  }

 private:
  static constexpr int kRowStep = kThreads / kChunks;
  static constexpr int kRows = kTileRows / kRowStep;
  static constexpr int32_t kOutside = -1;
  static constexpr int32_t kNowhere = -(1 << 30);  // no kernel reaches the input from there

  static __device__ __forceinline__ int own_row() {
    return static_cast<int>(threadIdx.x) / kChunks;
  }
  static __device__ __forceinline__ int own_chunk() {
    return static_cast<int>(threadIdx.x) % kChunks;
  }
  static __device__ __forceinline__ uint8_t* bytes_of(Chunk (*rows)[kChunks], int row, int byte) {
    return reinterpret_cast<uint8_t*>(&rows[row][chunk_place(row, own_chunk())]) + byte;
  }
  static __device__ __forceinline__ uint8_t* codes_of(CodeTiles& tiles, int i, int byte) {
    return bytes_of(tiles.codes, own_row() + i * kRowStep, byte);
  }
  static __device__ __forceinline__ uint8_t* weights_of(CodeTiles& tiles, int byte) {
    return bytes_of(tiles.weights, own_row(), byte);
  }
  static __device__ __forceinline__ int32_t narrow(int64_t size) {
    return static_cast<int32_t>(size);
  }

  __device__ __forceinline__ void find_window(int i, int64_t row, int64_t group) {
    const ConvShape& s = source_.shape;
#pragma unroll
    for (int axis = 2; axis >= 0; --axis) {
      const int64_t next = quotient_of(row, s.out[axis]);
      corners_[i][axis] = narrow((row - next * s.out[axis]) * s.stride[axis] - s.padding[axis]);
      row = next;
    }
    images_[i] =
        source_.codes + row * (s.in[0] * s.in[1] * s.in[2] * s.channels) + group * source_.channels;
  }

  // What the windows see at this kernel position.
  __device__ __forceinline__ void find_pixels() {
    const ConvShape& s = source_.shape;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      bool inside = true;
      uint32_t pixel = 0;
#pragma unroll
      for (int axis = 0; axis < 3; ++axis) {
        const auto size = static_cast<uint32_t>(s.in[axis]);
        const auto at =
            static_cast<uint32_t>(corners_[i][axis] + position_[axis] * narrow(s.dilation[axis]));
        inside = inside && at < size;  // negative ones have become large
        pixel = pixel * size + at;
      }
      pixels_[i] = inside ? narrow(pixel * s.channels) : kOutside;
    }
  }

  __device__ __forceinline__ void advance(int32_t bytes) {
    depth_ += bytes;
    channel_ += bytes;
    if (channel_ < source_.channels) return;
    const ConvShape& s = source_.shape;
    do {
      channel_ -= source_.channels;
      if (++position_[2] < narrow(s.kernel[2])) continue;
      position_[2] = 0;
      if (++position_[1] < narrow(s.kernel[1])) continue;
      position_[1] = 0;
      ++position_[0];
    } while (channel_ >= source_.channels);
    find_pixels();
  }

  __device__ __forceinline__ void load_piece(CodeTiles& to, int byte) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      if (pixels_[i] != kOutside) {
        copy_to_shared<kWidth>(codes_of(to, i, byte), images_[i] + pixels_[i] + channel_);
      } else {
        fill(codes_of(to, i, byte), source_.outside);
      }
    }
    if (filter_ != nullptr && depth_ < source_.depth) {
      copy_to_shared<kWidth>(weights_of(to, byte), filter_ + depth_);
    } else {
      fill(weights_of(to, byte), 0);
    }
    advance(kWidth);
  }

  static __device__ __forceinline__ void fill(uint8_t* to, uint32_t word) {
    if constexpr (kWidth == 16) {
      *reinterpret_cast<Chunk*>(to) = {word, word, word, word};
    } else {
      store_word(to, word);
    }
  }

  static __device__ __forceinline__ void store_word(uint8_t* to, uint32_t word) {
    *reinterpret_cast<uint32_t*>(to) = word;
  }

  // Four bytes, which are stored as a word: single ones would share banks.
  __device__ __forceinline__ void load_bytes(CodeTiles& to, int byte) {
    uint32_t words[kRows] = {}, weight_word = 0;
#pragma unroll 1
    for (int shift = 0; shift < 32; shift += 8) {
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        uint32_t code = source_.outside & 0xffu;
        if (pixels_[i] != kOutside) code = images_[i][pixels_[i] + channel_];
        words[i] |= code << shift;
      }
      if (filter_ != nullptr && depth_ < source_.depth) {
        weight_word |= uint32_t{static_cast<uint8_t>(filter_[depth_])} << shift;
      }
      advance(1);
    }
#pragma unroll
    for (int i = 0; i < kRows; ++i) store_word(codes_of(to, i, byte), words[i]);
    store_word(weights_of(to, byte), weight_word);
  }

  const WindowSource& source_;
  const uint8_t* images_[kRows] = {};  // at the group's first channel
  int32_t corners_[kRows][3];          // where the windows begin, in the input's coordinates
  int32_t pixels_[kRows];              // from the image on, or kOutside
  const int8_t* filter_;               // null: no such filter
  int32_t depth_ = 0, channel_ = 0, position_[3] = {0, 0, 0};
};

}  // namespace qat::kernels::cuda
