#pragma once
// Learning rates as a function of the step alone, so that a resumed run needs no state for them.

#include "train/job.h"

namespace qat::train {

// The rate of step `step` (from 0) of `steps`, for a base rate of 1.
//   constant   1
//   cosine     linear from start to 1 over warmup, then half a cosine down to end
//   one_cycle  half a cosine from start up to 1 over warmup, half a cosine down to end
//   step       gamma^floor(epoch / every)
double rate_factor(const ScheduleSpec& spec, int64_t step, int64_t steps, int64_t steps_per_epoch);

}  // namespace qat::train
