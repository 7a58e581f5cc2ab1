#pragma once
// The file of a float model that a job names: to start from, or as the teacher.

#include <string>

#include "train/session.h"

namespace qat::train {

struct FloatFile {
  std::string path;
  std::string key;    // of the job, "weights"
  std::string place;  // of the key, "job.yaml:3:10"
  std::string whose = "the model of this job";
};

// Its tensors, which are those of `network` in name and shape. Throws JobError at the key's place.
NamedTensors load_float_file(const FloatFile& file, const Network& network, const DataSet& data);

}  // namespace qat::train
