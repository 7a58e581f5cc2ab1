#include "train/training_state.h"

#include <nlohmann/json.hpp>

#include "error.h"

namespace qat::train {
namespace {

constexpr const char* kFormat = "qat_ext-training/1";
constexpr const char* kStages[] = {"float", "quantize", "qat", "finish"};

}  // namespace

void save_state(const std::string& path, const TrainingState& state) {
  const LoopPosition& at = state.position;
  const nlohmann::json position = {
      {"stage", kStages[static_cast<int>(state.stage)]},
      {"epoch", at.epoch},
      {"batch", at.batch},
      {"loss_sum", at.loss_sum},
      {"correct", at.correct},
      {"seen", at.seen},
      {"best", at.best},
      {"metrics_bytes", state.log.metrics},
      {"events_bytes", state.log.events},
  };
  NamedTensors tensors = {{"generator", state.generator}};
  add_prefixed(tensors, "model.", state.model);
  add_prefixed(tensors, "optimizer.", state.optimizer);
  add_prefixed(tensors, "quantizer.", state.quantizer);
  save_tensors(path, tensors,
               {{"format", kFormat},
                {"position", position.dump()},
                {"job", state.job},
                {"data", state.data}});
}

TrainingState load_state(const std::string& path) {
  TensorFile file = load_tensors(path,
                                 "put back an undamaged copy, or delete the file: 'qat resume' "
                                 "then starts from the beginning");
  const auto format = file.metadata.find("format");
  if (format == file.metadata.end() || format->second != kFormat) {
    throw Error(path + ": not a training checkpoint of this version (" + kFormat + ")");
  }
  TrainingState state;
  try {
    const auto json = nlohmann::json::parse(file.metadata.at("position"));
    const std::string stage = json.at("stage");
    for (int i = 0; i < 4; ++i) {
      if (stage == kStages[i]) state.stage = static_cast<Stage>(i);
    }
    LoopPosition& at = state.position;
    at.epoch = json.at("epoch");
    at.batch = json.at("batch");
    at.loss_sum = json.at("loss_sum");
    at.correct = json.at("correct");
    at.seen = json.at("seen");
    at.best = json.at("best");
    state.log = {json.at("metrics_bytes"), json.at("events_bytes")};
  } catch (const std::exception&) {
    throw Error(path + ": the position of the training is missing or damaged");
  }
  state.job = file.metadata["job"];
  state.data = file.metadata["data"];
  state.model = with_prefix(file.tensors, "model.");
  state.optimizer = with_prefix(file.tensors, "optimizer.");
  state.quantizer = with_prefix(file.tensors, "quantizer.");
  const NamedTensors generator = with_prefix(file.tensors, "generator");
  if (generator.size() != 1) throw Error(path + ": the state of the random generator is missing");
  state.generator = generator[0].second;
  return state;
}

}  // namespace qat::train
