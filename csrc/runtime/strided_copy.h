#pragma once
// Moving elements between two strided arrays of one shape: all that the layout operators do.

#include <cstddef>

#include "runtime/tensors.h"

namespace qat::runtime {

struct StridedSide {
  Sizes strides;       // in elements
  int64_t offset = 0;  // in elements
};

// Note [Loops of a copy]
// Axes that both sides walk through in one stride are one loop, so that joining channels of
// [N, H, W, C] is a copy of C bytes per position. What is left has two inner loops: one over
// consecutive elements of the destination, and, where those are apart in the source, one over
// consecutive elements of the source, taken in blocks that stay in the level-1 cache.
class StridedCopy {
 public:
  // element: bytes of one element, 1, 4 or 8.
  StridedCopy(size_t element, const Sizes& shape, const StridedSide& to, const StridedSide& from);

  // The regions must not overlap.
  void run(std::byte* to, const std::byte* from, int threads) const;

 private:
  struct Loop {
    int64_t size = 1, to = 1, from = 1;  // strides
  };
  class Position;
  void merge(const Sizes& shape, const StridedSide& to, const StridedSide& from);
  void choose_inner();
  void copy_rows(std::byte* to, const std::byte* from, int64_t rows) const;
  template <typename T>
  void copy_elements(T* to, const T* from, int64_t rows) const;

  size_t element_;
  bool empty_ = false;
  int64_t to_ = 0, from_ = 0;  // offsets
  std::vector<Loop> outer_;
  Loop rows_, inner_;
};

}  // namespace qat::runtime
