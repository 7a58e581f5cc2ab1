#include "ops/autocast/float32.h"

TORCH_LIBRARY_IMPL(qat_ext, AutocastCUDA, m) { qat::ops::widen_all_cuda(m); }
