#pragma once
// The files of one run.

#include <string>

#include "train/job.h"

namespace qat::train {

struct RunFolder {
  std::string path;
  bool numbered = false;  // the name is one of several that will do

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

// The folder of a new run, which goes into job.run. A job without `run` gets runs/<name>, or
// runs/<name>-2 and so on; a `run` that holds a run already is an error.
RunFolder choose_folder(Job& job);
// Makes it and writes the resolved job into it. Of two runs that chose the same one the later
// throws JobError, or takes the next name where the job gives none.
void make_folder(RunFolder& folder, Job& job);
// Throws JobError when there is no run at `path`.
RunFolder open_run(const std::string& path);

}  // namespace qat::train
