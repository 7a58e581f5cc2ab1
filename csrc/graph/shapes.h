#pragma once
// Arithmetic on symbolic shapes and the output sizes of windowed operators.

#include <cstdint>

#include "graph/graph.h"

namespace qat::graph {

constexpr size_t kMaxRank = 8;
// No size or value is larger at a batch of kSampleBatch, and no integer attribute is larger: their
// products fit 64 bits.
constexpr int64_t kMaxElements = int64_t{1} << 36;
constexpr int64_t kMaxAttribute = int64_t{1} << 26;
// Where a rule needs numbers it looks at this batch: models are captured at two and more.
constexpr int64_t kSampleBatch = 2;

constexpr bool is_constant(Affine size) { return size.per_batch == 0; }

// Each size at kSampleBatch is 0 to kMaxElements and so is their product.
bool is_allocatable(const Shape& shape);

// Equal numbers of elements at every batch. The sizes must be allocatable.
bool same_element_count(const Shape& a, const Shape& b);

// What numpy's rules make of two shapes; none where they do not fit.
std::optional<Shape> broadcast(const Shape& a, const Shape& b);

// One axis of a convolution's or pool's window.
struct Window {
  int64_t kernel, stride, padding, dilation;
};

// Negative or zero where the window is larger than the padded input.
int64_t convolution_size(int64_t input, Window window);
int64_t transposed_size(int64_t input, Window window, int64_t output_padding);
int64_t pool_size(int64_t input, Window window, bool ceil_mode);

}  // namespace qat::graph
