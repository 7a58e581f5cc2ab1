#pragma once
// The training loop, written once for the float and the quantization-aware phase. It knows nothing
// of models: forward, parameters and batches are handed in.

#include <functional>
#include <string>

#include "train/evaluate.h"
#include "train/objective.h"
#include "train/optimizer.h"
#include "train/run_log.h"

namespace qat::train {

// Where a phase stands; what a resumed run starts from.
struct LoopPosition {
  int64_t epoch = 0, batch = 0;  // the next to run
  double loss_sum = 0;           // of this epoch so far
  int64_t correct = 0, seen = 0;
  double best = -1;  // accuracy of the best epoch that counts
};

struct LoopParts {
  std::string phase;  // "float" or "qat", as the log names it
  PhaseSpec spec;
  int64_t first_step = 0;  // of the log's step count
  Forward forward;         // of the validation
  Objective objective;
  std::function<void(bool training)> set_training;
  Optimizer& optimizer;
  BatchSource& train;
  BatchSource& validation;
  int64_t classes = 0;
  RunLog& log;
  // Before each step with the share of the phase that is done, and with 1 before the last
  // validation.
  std::function<void(double fraction)> schedule;
  std::function<bool()> counts;  // may this epoch's weights become the phase's result?
  std::function<void()> keep_best;
  std::function<void(const LoopPosition&)> checkpoint;
};

// Runs the phase from `position` to its end. On SIGINT or SIGTERM writes a checkpoint and throws
// Stopped. Throws qat::Error when the loss is not finite.
void run_loop(const LoopParts& parts, LoopPosition& position);

}  // namespace qat::train
