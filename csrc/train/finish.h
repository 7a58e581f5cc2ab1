#pragma once
// The end of a run: convert, compare, verify, report.

#include "insert/prepared_model.h"
#include "train/run.h"
#include "train/run_log.h"

namespace qat::train {

// The network holds the weights to ship and is in eval(); both freezes are on.
Summary finish_run(const RunFolder& folder, Session& session, PreparedModel& prepared, RunLog& log);

// Evaluates float.safetensors of a run in a network of its own.
NetworkPtr load_float_network(const RunFolder& folder, const Session& session);

}  // namespace qat::train
