#pragma once
// The checkpoint that a stopped run continues from, bit for bit.

#include <string>

#include "train/loop.h"
#include "train/tensor_file.h"

namespace qat::train {

// What a run does next. quantize: prepare and calibrate; finish: convert, verify and report.
enum class Stage { floating, quantize, qat, finish };

struct TrainingState {
  Stage stage = Stage::floating;
  LoopPosition position;
  LogSizes log;
  NamedTensors model, optimizer, quantizer;
  at::Tensor generator;   // state of torch's CPU generator
  std::string job, data;  // the resolved job and the digest of its data; empty: of an older version
};

void save_state(const std::string& path, const TrainingState& state);
TrainingState load_state(const std::string& path);

}  // namespace qat::train
