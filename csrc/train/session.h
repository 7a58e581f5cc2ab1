#pragma once
// A job made concrete: data in memory, the float network, and the batches of both.

#include <memory>
#include <string>

#include "train/data.h"
#include "train/models/network.h"
#include "train/tensor_file.h"

namespace qat::train {

struct Session {
  Job job;
  DataSet data;
  NetworkPtr network;  // initialised from the job's seed
  // Epochs are chosen on the validation rows; the test rows are for the finished model alone.
  std::unique_ptr<BatchSource> train, validation, test;
};

// Sets torch's thread count, seed and deterministic algorithms for the whole process.
Session open_session(const Job& job);

NamedTensors parameters_of(const Network& network);
// Parameters, then buffers.
NamedTensors tensors_of(const Network& network);

// Four rows of the training data: what prepare() records the model on.
at::Tensor example_of(const Session& session);

}  // namespace qat::train
