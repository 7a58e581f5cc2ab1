#pragma once
// Offsets for buffers whose lifetimes are known ahead.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace qat::runtime {

struct Lifetime {
  size_t bytes = 0;
  int64_t first = 0, last = 0;  // steps, both included
};

struct Arena {
  std::vector<size_t> offsets;  // multiples of 64
  size_t bytes = 0;
};

// Largest first, each at the lowest offset that is free during its life.
Arena place(const std::vector<Lifetime>& buffers);

}  // namespace qat::runtime
