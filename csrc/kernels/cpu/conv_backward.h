#pragma once
// What the gradients of dense 2-d convolutions share, whatever their products are.

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace qat::kernels {

// Activations are channels-last; one group.
struct ConvShape {
  int64_t batch = 0, in_channels = 0, out_channels = 0;
  std::array<int64_t, 2> in_size{}, out_size{}, kernel{}, stride{}, padding{}, dilation{};
};

// Runs body(begin, end) on parts of 0..count, possibly concurrently.
using ParallelFor =
    std::function<void(int64_t count, const std::function<void(int64_t begin, int64_t end)>& body)>;

// Consecutive channels that are packed together.
struct Block {
  int64_t first = 0, count = 0;
  int64_t width = 0;   // count rounded up to the unit
  int64_t offset = 0;  // sum of the widths before
};

// Blocks of nearly equal width, each at most `maximum` wide.
std::vector<Block> split_channels(int64_t channels, int64_t unit, int64_t maximum);

int64_t total_width(const std::vector<Block>& blocks);

// Columns are padded to vectors, rows are not: whether the weight gradient is the smaller product
// with the gradient's channels as rows.
bool choose_rows(const ConvShape& shape, int64_t vector, int64_t max_vectors);

// Activation codes read as byte ^ flip.
struct ByteCodes {
  const uint8_t* data = nullptr;
  uint8_t flip = 0;
  int32_t zero_point = 0;  // after the flip
};

// Flipping the top bit turns int8 into uint8 and adds 128 to code and zero point.
ByteCodes as_unsigned(const uint8_t* codes, int32_t zero_point, bool are_signed);

// Scratch memory that the calling thread keeps for its next call: a fresh mapping of some
// megabytes costs as much in page faults as filling it.
enum class Scratch { operand, other_operand, partial_sums };
std::byte* scratch(Scratch which, size_t bytes);

}  // namespace qat::kernels
