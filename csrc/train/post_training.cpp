#include "train/post_training.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "qat.h"
#include "train/bit_groups.h"
#include "train/quantization_step.h"

namespace qat::train {
namespace {

std::shared_ptr<PreparedModel> prepare_with(const Session& session, const Recipe& recipe) {
  return prepare(session.network, {example_of(session)}, recipe);
}

}  // namespace

PostTraining::PostTraining(Session& session)
    : session_(session), prepared_(prepare_with(session, eight_bits(session.job.recipe))) {
  calibrate(*prepared_, session_, [](int64_t) {});
  for (const auto& [name, tensor] : prepared_->state()) {
    ranges_.emplace_back(name, tensor.detach().clone());
  }
}

Evaluation PostTraining::evaluate(const Recipe& recipe, BatchSource& rows) const {
  const auto prepared = prepare_with(session_, recipe);
  const at::NoGradGuard no_grad;
  copy_values(ranges_, prepared->state(), "calibration");
  prepared->step(1.0);
  session_.network->eval();
  return train::evaluate([&](const at::Tensor& x) { return prepared->forward(x); }, rows,
                         session_.data.classes);
}

Evaluation PostTraining::evaluate_float(BatchSource& rows) const {
  session_.network->eval();
  return train::evaluate([&](const at::Tensor& x) { return session_.network->forward(x); }, rows,
                         session_.data.classes);
}

ValidationRows validation_rows(const Session& session, int64_t most) {
  Split split = session.data.validation;
  const int64_t rows = std::min(most, split.targets.size(0));
  split.inputs = split.inputs.narrow(0, 0, rows);
  split.targets = split.targets.narrow(0, 0, rows);
  return {std::make_unique<TensorBatches>(split, session.data, BatchOptions{.batch = 250}), rows};
}

}  // namespace qat::train
