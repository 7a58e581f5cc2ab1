#pragma once
// The input of some output rows of one image, in the form in which tiles read it.

#include "kernels/cpu/conv_u8s8.h"

namespace qat::kernels::u8s8 {

// The zero point after signed codes became unsigned.
inline int32_t unsigned_zero_point(const ConvLayer& layer) {
  return layer.zero_point + (layer.is_signed ? 128 : 0);
}

// Bytes of one padded input row of a band that is copied.
int64_t band_row_bytes(const ConvLayer& layer, int64_t output_w);

// True where a band copies nothing.
bool reads_directly(const ConvLayer& layer);

// Note [Bands]
// Where the tensor itself can be read (unsigned codes, no padding, channels in whole steps), a
// band only holds pointers. Otherwise the rows are copied once: border filled with the zero
// point, top bit flipped, channels of each group padded to whole steps (what lies there meets
// weights of zero), widened to int16 for the kernels that want it. Every input byte is copied
// kernel_h / stride_h times at worst, and read taps * blocks times by the tiles.
//
// Memory that a band needs, of one layer or of the largest of several. It is used until the next
// band is made in it.
size_t band_bytes(const ConvLayer& layer, const ImageSizes& sizes, int64_t rows);

class Band {
 public:
  // Output rows [begin, end) of image `image`. memory: of band_bytes() for end - begin rows, on a
  // boundary of 64 bytes.
  Band(const ConvLayer& layer, const ImageSizes& sizes, const uint8_t* codes, int64_t image,
       int64_t begin, int64_t end, std::byte* memory);

  int64_t positions() const { return positions_; }
  const uint8_t* const* pointers() const { return pointers_; }
  // Index of the first position among all positions of the batch.
  int64_t first_output() const { return first_output_; }
  // Offsets of the taps of the packed weights; the next call overwrites them. For depthwise layers,
  // groups are channels.
  const int64_t* tap_offsets_of_group(int64_t group) const;
  // The same in the order of packed quads.
  const int64_t* quad_offsets() const;

 private:
  const ConvLayer& layer_;
  const uint8_t** pointers_;
  int64_t *tap_offsets_, *quad_offsets_;
  int64_t positions_ = 0, first_output_ = 0;
  int64_t row_bytes_ = 0, pixel_bytes_ = 0, group_bytes_ = 0;
};

// Indices of a layer's channel blocks.
struct BlockRange {
  size_t first = 0, end = 0;
};

// The outputs of a band. blocks: of those of each group; all of them, unless the layer has a single
// group and tiles.
void run_band(const ConvLayer& layer, const Band& band, const Epilogue& epilogue,
              const BlockRange& blocks);

}  // namespace qat::kernels::u8s8
