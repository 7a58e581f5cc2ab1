#include "ops/autocast/float32.h"

TORCH_LIBRARY_IMPL(qat_ext, AutocastCPU, m) { qat::ops::widen_all_cpu(m); }
