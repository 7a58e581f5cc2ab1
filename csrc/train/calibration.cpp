#include "train/calibration.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cstdio>

#include "ptq/ptq.h"
#include "train/quantization_step.h"

namespace qat::train {
namespace {

template <typename... Values>
std::string format(const char* pattern, Values... values) {
  char text[160];
  std::snprintf(text, sizeof text, pattern, values...);
  return text;
}

std::string describe(const std::vector<ptq::EqualizedPair>& pairs) {
  double smallest = 1, largest = 1;
  for (const auto& pair : pairs) {
    smallest = std::min(smallest, pair.smallest);
    largest = std::max(largest, pair.largest);
  }
  return format("equalize: %zu pairs of layers, channels divided by %.3g to %.3g", pairs.size(),
                smallest, largest);
}

std::string describe(const char* step, const std::vector<ptq::ChannelShift>& shifts,
                     const char* unit) {
  double largest = 0;
  for (const auto& shift : shifts) largest = std::max(largest, shift.largest);
  return format("%s: %zu layers, means moved by up to %.3g%s", step, shifts.size(), largest, unit);
}

std::string describe(const std::vector<ptq::Rounded>& layers) {
  double share = 0;
  for (const auto& layer : layers) {
    share += layer.nearest_error > 0 ? layer.error / layer.nearest_error : 1.0;
  }
  if (!layers.empty()) share /= static_cast<double>(layers.size());
  return format("adaround: %zu layers, %.1f %% of the squared error of rounding to nearest",
                layers.size(), 100 * share);
}

class Calibration {
 public:
  Calibration(PreparedModel& prepared, Session& session, RunLog& log,
              const std::function<void(int64_t)>& between)
      : prepared_(prepared), session_(session), log_(log), between_(between) {
    for (const auto& [name, tensor] : prepared.state()) {
      blank_.emplace_back(name, tensor.detach().clone());
    }
    batches_.count = std::min(session.job.calibrate.batches, session.train->batches());
    batches_.at = [this](int64_t index) {
      between_(index);
      return TensorList{session_.train->batch(0, index).inputs};
    };
  }

  void run() {
    for (const ptq::Step step : session_.job.calibrate.steps) log_.console.line(run_step(step));
    observe();
  }

 private:
  void observe() {
    if (observed_) return;
    calibrate(prepared_, session_, between_);
    reference_ = ptq::remember(prepared_);
    observed_ = true;
    log_.console.line("calibrate: ranges observed on " + std::to_string(batches_.count) +
                      " batches");
  }

  std::string run_step(ptq::Step step) {
    if (step == ptq::Step::equalize) {
      session_.network->eval();
      copy_values(blank_, prepared_.state(), "calibration");
      observed_ = false;
      return describe(ptq::equalize(prepared_));
    }
    observe();
    switch (step) {
      case ptq::Step::batch_norm:
        return describe("batch_norm", ptq::reestimate_batch_norm(prepared_, batches_),
                        " standard deviations");
      case ptq::Step::bias_correction:
        return describe("bias_correction", ptq::correct_bias(prepared_, batches_, reference_), "");
      default:
        break;
    }
    ptq::AdaroundOptions options = session_.job.calibrate.adaround;
    options.seed = session_.job.seed;
    return describe(ptq::adaround(prepared_, batches_, options, reference_));
  }

  PreparedModel& prepared_;
  Session& session_;
  RunLog& log_;
  const std::function<void(int64_t)>& between_;
  NamedTensors blank_;  // the quantizers before they have seen anything
  ptq::Batches batches_;
  ptq::Reference reference_;
  bool observed_ = false;
};

}  // namespace

void calibrate_with_steps(PreparedModel& prepared, Session& session, RunLog& log,
                          const std::function<void(int64_t batch)>& between) {
  const at::NoGradGuard no_grad;
  Calibration(prepared, session, log, between).run();
}

}  // namespace qat::train
