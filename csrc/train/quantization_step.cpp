#include "train/quantization_step.h"

#include <ATen/core/grad_mode.h>

#include "qat.h"

namespace qat::train {

std::shared_ptr<PreparedModel> prepare_session(const Session& session) {
  return prepare(session.network, {example_of(session)}, session.job.recipe);
}

void calibrate(PreparedModel& prepared, Session& session,
               const std::function<void(int64_t batch)>& between) {
  const at::NoGradGuard no_grad;
  prepared.set_phase(Phase::calibrate);
  session.network->eval();
  const int64_t batches = std::min(session.job.calibrate.batches, session.train->batches());
  for (int64_t index = 0; index < batches; ++index) {
    between(index);
    prepared.forward(session.train->batch(0, index).inputs);
  }
  prepared.set_phase(Phase::qat);
}

void save_quantized(const std::string& path, const Session& session,
                    const PreparedModel& prepared) {
  NamedTensors tensors;
  add_prefixed(tensors, "model.", tensors_of(*session.network));
  add_prefixed(tensors, "quantizer.", prepared.state());
  save_tensors(path, tensors, {{"format", "qat_ext-quantized/1"}});
}

void load_quantized(const std::string& path, Session& session, PreparedModel& prepared) {
  const TensorFile file = load_tensors(path);
  copy_values(with_prefix(file.tensors, "model."), tensors_of(*session.network), path);
  copy_values(with_prefix(file.tensors, "quantizer."), prepared.state(), path);
}

std::shared_ptr<PreparedModel> open_quantized(const std::string& path, Session& session) {
  auto prepared = prepare_session(session);
  prepared->set_phase(Phase::qat);
  load_quantized(path, session, *prepared);
  prepared->step(1.0);
  session.network->eval();
  return prepared;
}

VerifyReport verify_on_test(PreparedModel& prepared, const IntegerModel& integer,
                            Session& session) {
  const at::NoGradGuard no_grad;
  std::vector<TensorList> batches;
  for (int64_t index = 0; index < session.test->batches(); ++index) {
    batches.push_back({session.test->batch(0, index).inputs});
  }
  return verify(prepared, integer, batches);
}

}  // namespace qat::train
