#pragma once
// __shared__ variables are thread-local ones: the linker gathers them in one segment, and nothing
// else of these objects lies there.

#include <cstddef>

namespace qat::emulation {

// To be called first, by the thread that runs the grid.
void find_shared_memory();

// A block begins with what an earlier one left behind; no value of it may enter a result.
void fill_shared_memory(std::byte value);

bool is_shared(const void* memory, size_t bytes);

}  // namespace qat::emulation
