#pragma once
// One float model, quantized without training by recipes that differ in bits alone.

#include <memory>

#include "insert/prepared_model.h"
#include "train/evaluate.h"
#include "train/session.h"

namespace qat::train {

class PostTraining {
 public:
  // session.network holds the float weights. Observes the ranges on the job's calibration batches,
  // once for all recipes: what observers keep does not depend on bits.
  explicit PostTraining(Session& session);

  // Of the job, with 8 bits everywhere.
  const Recipe& base() const { return prepared_->recipe(); }
  PreparedModel& model() { return *prepared_; }
  Evaluation evaluate(const Recipe& recipe, BatchSource& rows) const;
  Evaluation evaluate_float(BatchSource& rows) const;
  Session& session() const { return session_; }

 private:
  Session& session_;
  std::shared_ptr<PreparedModel> prepared_;
  NamedTensors ranges_;
};

// The first rows of the validation split, or all of them where there are fewer.
struct ValidationRows {
  std::unique_ptr<BatchSource> batches;
  int64_t rows = 0;
};
ValidationRows validation_rows(const Session& session, int64_t most);

}  // namespace qat::train
