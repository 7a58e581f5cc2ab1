// The range of every channel at every site of the float model.

#include "error.h"
#include "insert/engine.h"
#include "quantizers/range_of_values.h"

namespace qat {
namespace {

// A forward of the float model that shows its sites; afterwards the phase is as before.
class FloatingForward {
 public:
  using Tap = std::function<void(const std::string& site, const at::Tensor& result)>;
  FloatingForward(Engine& engine, Tap tap) : engine_(engine), phase_(engine.phase()) {
    engine_.tap = std::move(tap);
    engine_.set_phase(Phase::floating);
  }
  ~FloatingForward() {
    engine_.tap = nullptr;
    engine_.set_phase(phase_);
  }
  FloatingForward(const FloatingForward&) = delete;
  FloatingForward& operator=(const FloatingForward&) = delete;

 private:
  Engine& engine_;
  Phase phase_;
};

// Images and volumes hold their channels in axis 1, anything else in the last one.
int64_t channel_axis(const at::Tensor& result) {
  return result.dim() == 4 || result.dim() == 5 ? 1 : result.dim() - 1;
}

}  // namespace

std::vector<ChannelRanges> PreparedModel::activation_ranges(const TensorList& inputs) {
  if (engine_->access.is_training()) {
    throw Error("activation_ranges: the model is in training mode; call eval() first.");
  }
  const at::NoGradGuard no_grad;
  std::vector<ChannelRanges> all;
  const FloatingForward forward(*engine_, [&](const std::string& site, const at::Tensor& result) {
    if (!result.is_floating_point() || result.dim() == 0) return;
    all.push_back({site, {}, {}});
    std::tie(all.back().min, all.back().max) = channel_ranges(result, channel_axis(result));
  });
  engine_->forward(inputs);
  return all;
}

}  // namespace qat
