#include "train/robustness.h"

namespace qat::train {

Robustness measure_robustness(Session& session, Network& floating, PreparedModel& prepared,
                              const IntegerModel& integer, const AttackSpec& spec) {
  const Attack attack{spec, input_bounds(session.data), static_cast<uint64_t>(session.job.seed)};
  const auto accuracy = [&](const Forward& attacked, const Forward& judged) {
    AttackedBatches batches(*session.test, attacked, attack);
    return evaluate(judged, batches, session.data.classes).accuracy();
  };
  const Forward on_floats = [&](const at::Tensor& x) { return floating.forward(x); };
  const Forward on_codes = [&](const at::Tensor& x) { return prepared.forward(x); };
  const Forward on_integers = [&](const at::Tensor& x) { return integer.forward(x); };
  return {spec, accuracy(on_floats, on_floats), accuracy(on_codes, on_integers)};
}

}  // namespace qat::train
