#pragma once
// The float model that the qat phase learns from.

#include <memory>
#include <string>
#include <vector>

#include "insert/prepared_model.h"
#include "train/session.h"

namespace qat::train {

// Logits and the values at the sites that the job's `distill.features` name.
struct ModelOutputs {
  at::Tensor logits;
  std::vector<at::Tensor> features;
};

std::vector<std::string> sites_of(const DistillSpec& spec);

class Teacher {
 public:
  // float_model: the file of the job's own float model. Leaves the random state as it was. Throws
  // JobError where the teacher is missing or of another shape.
  Teacher(const Session& session, const std::string& float_model);

  // Without gradients, in eval().
  ModelOutputs forward(const at::Tensor& inputs) const;

  // nullptr where the job names no sites.
  PreparedModel* prepared() const { return prepared_.get(); }

 private:
  NetworkPtr network_;
  std::vector<std::string> sites_;
  std::shared_ptr<PreparedModel> prepared_;  // where there are sites
};

// What can be said before any training: the teacher is there and fits, the sites exist in both
// models and have one shape. Throws JobError. Leaves network and random state as they were.
void check_distillation(const Session& session);

}  // namespace qat::train
