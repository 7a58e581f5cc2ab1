#pragma once
// Every table that kernels() could choose on this machine, for the tests.

#include <vector>

#include "kernels/cpu/kernels.h"

namespace qat::kernels {

std::vector<const KernelTable*> available_tables();  // best first

}  // namespace qat::kernels
