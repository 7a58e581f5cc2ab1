#pragma once
// The files of one run.

#include <string>

#include "train/job.h"

namespace qat::train {

struct RunFolder {
  std::string path;

  std::string job() const { return path + "/job.yaml"; }
  std::string checkpoints() const { return path + "/checkpoints"; }
  std::string latest() const { return path + "/checkpoints/latest.safetensors"; }
  std::string best_qat() const { return path + "/checkpoints/best_qat.safetensors"; }
  std::string float_model() const { return path + "/float.safetensors"; }
  std::string int8_model() const { return path + "/model.safetensors"; }
  std::string metrics() const { return path + "/metrics.jsonl"; }
  std::string report_json() const { return path + "/report.json"; }
  std::string report_html() const { return path + "/report.html"; }
};

// Makes the folder and writes the resolved job into it. A job without `run` gets runs/<name>, or
// runs/<name>-2 and so on; a `run` that holds a run already is an error.
RunFolder create_run(Job& job);
// Throws JobError when there is no run at `path`.
RunFolder open_run(const std::string& path);

}  // namespace qat::train
