#pragma once
// What the driver asks of the quantization engine, in one place.

#include <functional>
#include <memory>

#include "insert/prepared_model.h"
#include "lower/integer_model.h"
#include "train/session.h"

namespace qat::train {

std::shared_ptr<PreparedModel> prepare_session(const Session& session);

// Observes the ranges on the first batches of the training data and starts the quantized phase.
// between: called before each batch; may throw.
void calibrate(PreparedModel& prepared, Session& session,
               const std::function<void(int64_t batch)>& between);

// Restores weights and ranges that save_quantized wrote.
void save_quantized(const std::string& path, const Session& session, const PreparedModel& prepared);
void load_quantized(const std::string& path, Session& session, PreparedModel& prepared);

// The trained model of a finished run in eval(), as it was converted; weights go into
// session.network.
std::shared_ptr<PreparedModel> open_quantized(const std::string& path, Session& session);

// Counts differing logits over the whole test data. The model must be in eval().
VerifyReport verify_on_test(PreparedModel& prepared, const IntegerModel& integer, Session& session);

}  // namespace qat::train
