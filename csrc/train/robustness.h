#pragma once
// Accuracy of the finished models on attacked test data.

#include "insert/prepared_model.h"
#include "lower/integer_model.h"
#include "train/adversarial.h"
#include "train/session.h"

namespace qat::train {

constexpr int64_t kReportSteps = 10;  // of the attack that a report is about

struct Robustness {
  AttackSpec attack;
  double float_accuracy = 0, int8_accuracy = 0;
};

// Each model meets the attack made against itself: `floating` differentiates its own forward, the
// integer model has no gradients and is attacked through `prepared`, which it equals bit for bit.
// Both are in eval().
Robustness measure_robustness(Session& session, Network& floating, PreparedModel& prepared,
                              const IntegerModel& integer, const AttackSpec& attack);

}  // namespace qat::train
