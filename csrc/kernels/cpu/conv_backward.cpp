#include "kernels/cpu/conv_backward.h"

#include <algorithm>

#include "kernels/cpu/gemm_u8s8.h"

namespace qat::kernels {

std::vector<Block> split_channels(int64_t channels, int64_t unit, int64_t maximum) {
  const int64_t units = (channels + unit - 1) / unit;
  const int64_t per_block = maximum / unit;
  const int64_t count = (units + per_block - 1) / per_block;
  std::vector<Block> blocks;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t begin = units * i / count * unit, end = units * (i + 1) / count * unit;
    blocks.push_back({begin, std::min(end, channels) - begin, end - begin, begin});
  }
  return blocks;
}

int64_t total_width(const std::vector<Block>& blocks) {
  return blocks.back().offset + blocks.back().width;
}

bool choose_rows(const ConvShape& s, int64_t vector, int64_t max_vectors) {
  const auto vectors = [&](int64_t channels) { return (channels + vector - 1) / vector; };
  const int64_t grad_rows = s.out_channels * vectors(s.in_channels);
  const int64_t input_rows = s.in_channels * vectors(s.out_channels);
  if (grad_rows != input_rows) return grad_rows < input_rows;
  return vectors(s.in_channels) >= std::min(max_vectors, vectors(s.out_channels));
}

ByteCodes as_unsigned(const uint8_t* codes, int32_t zero_point, bool are_signed) {
  const int32_t shift = are_signed ? 128 : 0;
  return {codes, static_cast<uint8_t>(shift), zero_point + shift};
}

std::byte* scratch(Scratch which, size_t bytes) {
  struct Buffer {
    u8s8::AlignedBytes memory;
    size_t size = 0;
  };
  thread_local std::array<Buffer, 3> buffers;
  Buffer& buffer = buffers[static_cast<size_t>(which)];
  if (buffer.size < bytes) {
    buffer.memory = u8s8::AlignedBytes();
    buffer.size = 0;
    buffer.memory = u8s8::AlignedBytes(bytes);
    buffer.size = bytes;
  }
  return buffer.memory.data();
}

}  // namespace qat::kernels
