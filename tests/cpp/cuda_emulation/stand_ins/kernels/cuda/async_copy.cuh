#pragma once
// Copies that arrive at the last moment that a device allows, or at the first one.

#include "copies.h"

namespace qat::kernels::cuda {

constexpr int kStages = 3;

template <int kBytes>
void copy_to_shared(void* shared, const void* global) {
  static_assert(kBytes == 4 || kBytes == 16);
  emulation::copy_to_shared(shared, global, kBytes);
}

inline void end_group_of_copies() { emulation::end_group_of_copies(); }

template <int kNewest>
void wait_for_copies() {
  emulation::wait_for_copies(kNewest);
}

}  // namespace qat::kernels::cuda
