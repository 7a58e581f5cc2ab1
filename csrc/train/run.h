#pragma once
// A whole run: float training, calibration, quantization-aware training, conversion, report.

#include <optional>
#include <string>

#include "train/robustness.h"
#include "train/run_folder.h"
#include "train/session.h"

namespace qat::train {

struct Summary {
  double float_accuracy = 0, int8_accuracy = 0;
  int64_t differing = 0, logits = 0, differing_parameters = 0;
  std::string first_difference;
  double size_ratio = 0;                 // bytes of the int8 file by bytes of the float file
  std::optional<Robustness> robustness;  // of a job with `adversarial`
  bool equal() const { return differing == 0 && differing_parameters == 0; }
  // "float_accuracy=0.9100 int8_accuracy=0.9100 differing_logits=0/100000 size_ratio=0.2800"
  std::string line() const;
};

// Runs the job in a folder that choose_folder() gave, which is made when nothing speaks against the
// job, and may get another number then. Throws Stopped after a signal.
Summary run_job(const Job& job, RunFolder& folder);

// Goes on from the latest checkpoint of the run, or from the start where there is none. Throws
// Stopped.
Summary resume_job(const Job& job, const RunFolder& folder);

// The float phase of a new run alone; resume_job goes on from there. Throws Stopped.
void run_float_phase(const Job& job, RunFolder& folder);

}  // namespace qat::train
