#pragma once
// A float model running with its quantizers in place.

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "named_tensors.h"
#include "quantizers/recipe.h"

namespace qat {

using TensorList = std::vector<at::Tensor>;

// How the engine reaches the user's model. The model stays the owner of everything.
struct ModelAccess {
  // Runs the model's own forward in its present mode.
  std::function<TensorList(const TensorList& inputs)> forward;
  // Parameters and buffers by qualified name; a shared tensor is listed under every name.
  std::function<NamedTensors()> tensors;
  // Optional: another number when tensors() has come to give other tensors or names. Without it
  // they are listed for every forward.
  std::function<int64_t()> generation = nullptr;
  std::function<bool()> is_training;
  std::function<void(bool)> train;
};

// floating: the model as it is. calibrate: ranges are observed, nothing is quantized. qat: both.
enum class Phase { floating, calibrate, qat };

// How far the codes of a site are from the float model's values.
struct SiteSignal {
  std::string site;
  double signal_to_noise_db = 0;  // 10 log10(sum x^2 / sum (x - x_hat)^2); infinite when equal
  float min = 0, max = 0;         // of the float values
  float scale = 1;
  int zero_point = 0;
};

// What a forward returned and, one by one, the values at the sites that were asked for.
struct TappedOutputs {
  TensorList outputs, taps;
};

// The finite range of each channel of a site's result: float32[C].
struct ChannelRanges {
  std::string site;
  at::Tensor min, max;
};

class Engine;  // insert/engine.h

class PreparedModel {
 public:
  // examples: one or more lists of inputs; axis 0 of the inputs is the batch. Runs the model on
  // them in both modes and restores its buffers, mode and the random state. Throws qat::Error
  // naming the site that cannot be planned.
  static std::shared_ptr<PreparedModel> create(ModelAccess access,
                                               const std::vector<TensorList>& examples,
                                               const Recipe& recipe);
  ~PreparedModel();

  // Runs the forward in the current phase. Batch norm follows train()/eval() of the model.
  TensorList forward(const TensorList& inputs);
  at::Tensor forward(const at::Tensor& input) { return forward(TensorList{input}).at(0); }

  // The same forward, and the first result of each of `sites`, differentiable: in Phase::qat the
  // real value that its codes stand for, else what the float model has there. Throws qat::Error
  // for a name that is not in sites() and for a site that this forward did not pass.
  TappedOutputs forward_with_taps(const TensorList& inputs, const std::vector<std::string>& sites);
  // Names of the operators whose results depend on the inputs, in the order of the forward.
  std::vector<std::string> sites() const;

  Phase phase() const;
  void set_phase(Phase phase);
  void freeze_batch_norm(bool frozen);
  void freeze_ranges(bool frozen);
  bool batch_norm_frozen() const;
  bool ranges_frozen() const;
  // Applies the recipe's schedule at `fraction` (0..1) of the quantization-aware training: which
  // sites compute in integers, with how many bits, and what is frozen; 1 freezes both. Never goes
  // back.
  void step(double fraction);
  // Whether the schedule has come to where the model can be converted.
  bool fully_quantized() const;

  // What recipe.oscillation.damping adds to the loss, from the weights of the latest training
  // forward: float32, 0-d, differentiable. Its weight follows the fraction of step().
  at::Tensor oscillation_loss() const;

  // The quantizers' own state under stable names ("layer1.0.conv1.input.min"): float32[1] minima
  // and maxima, int64[1] counts, the flags "schedule.phase", "schedule.batch_norm_frozen",
  // "schedule.ranges_frozen", and "schedule.fraction" (float64[1]). Tensors are shared, so writing
  // into them restores a checkpoint.
  NamedTensors state() const;

  // Takes in what a copy of this model observed elsewhere, by its state(). Throws qat::Error where
  // that is of another model or recipe, before anything changes.
  void merge_observations(const NamedTensors& state);

  // Of these, the learned scales and zero points: float32 leaves that require a gradient.
  NamedTensors parameters() const;

  // The signal-to-noise ratio of every site whose codes are kept, on one list of inputs, with the
  // model in eval(). Changes no state.
  std::vector<SiteSignal> measure(const TensorList& inputs);

  // The float model's ranges per channel (axis 1 of images and volumes, else the last axis) at each
  // site whose result is real, in the order of the forward, on one list of inputs, with the model
  // in eval(). Changes no state.
  std::vector<ChannelRanges> activation_ranges(const TensorList& inputs);

  // One row per site: operator, bits, granularity, method, or why it stays float.
  std::string plan() const;

  const Recipe& recipe() const;
  ModelAccess& access();
  Engine& engine() { return *engine_; }

 private:
  explicit PreparedModel(std::unique_ptr<Engine> engine);
  std::unique_ptr<Engine> engine_;
};

}  // namespace qat
