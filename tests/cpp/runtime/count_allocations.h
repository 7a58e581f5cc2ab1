#pragma once
// Counting calls of operator new in a test executable.

#include <cstdint>

namespace qat::runtime::testing {

int64_t allocations();

}  // namespace qat::runtime::testing
