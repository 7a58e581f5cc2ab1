#pragma once
// cp.async of the thread that runs.
//
// Note [Arrival]
// A device may copy at any time between the instruction and the wait. With Order::forward all
// copies arrive at the wait, with the others at once: a missing wait shows in the first case, and
// a tile that is overwritten while somebody reads it in the others.

#include <cstddef>

namespace qat::emulation {

void copy_to_shared(void* shared, const void* global, size_t bytes);
void end_group_of_copies();
// Until all groups but the `newest` ones have arrived.
void wait_for_copies(size_t newest);

}  // namespace qat::emulation
