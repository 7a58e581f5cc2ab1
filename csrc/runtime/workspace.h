#pragma once
// What operators need while they run: memory, the same for all of them, one part per thread; and
// time.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/cpu/gemm_u8s8.h"

namespace qat::runtime {

class Workspace {
 public:
  // Of one thread, for one more operator.
  void require(size_t bytes) { part_ = std::max(part_, (bytes + 63) / 64 * 64); }
  // About: 1000 are 5 ns on one thread.
  void add_work(int64_t macs) { work_ += macs; }
  int64_t work() const { return work_; }
  // Before operators run; afterwards nothing may be required.
  void provide(int threads) {
    bytes_ = kernels::u8s8::AlignedBytes(part_ * static_cast<size_t>(threads));
  }
  // On a boundary of 64 bytes.
  std::byte* of(int member) const { return bytes_.data() + part_ * static_cast<size_t>(member); }

 private:
  size_t part_ = 0;
  int64_t work_ = 0;
  kernels::u8s8::AlignedBytes bytes_;
};

}  // namespace qat::runtime
