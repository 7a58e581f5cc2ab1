#pragma once
// What a run does between the float and the qat phase: ranges, and the steps of post-training
// quantization that the job lists.

#include <functional>

#include "insert/prepared_model.h"
#include "train/run_log.h"
#include "train/session.h"

namespace qat::train {

// Ends in Phase::qat. between: called before each batch; may throw.
void calibrate_with_steps(PreparedModel& prepared, Session& session, RunLog& log,
                          const std::function<void(int64_t batch)>& between);

}  // namespace qat::train
