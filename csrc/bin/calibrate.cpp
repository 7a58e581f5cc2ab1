#include <filesystem>

#include "commands.h"
#include "train/run.h"
#include "train/stop_signal.h"
#include "train/yaml_tree.h"

namespace qat::bin {
namespace {

using namespace qat::train;

bool replaces(const std::vector<std::string>& overrides, const std::string& key) {
  for (const std::string& assignment : overrides) {
    if (assignment.starts_with(key + "=")) return true;
  }
  return false;
}

void refuse_training(const std::vector<std::string>& overrides) {
  for (const std::string& override : overrides) {
    if (!override.starts_with("qat")) continue;
    const std::string key = override.substr(0, override.find('='));
    if (key != "qat" && !key.starts_with("qat.")) continue;
    throw JobError("command line: " + override + ": error: " + key +
                   ": 'qat calibrate' does not train; leave the key out, or use 'qat train'");
  }
}

// The job of a run on the run's float model, in a folder of its own.
Job job_of_run(const std::string& path, const std::vector<std::string>& overrides) {
  const RunFolder folder = open_run(path);
  if (!std::filesystem::exists(folder.float_model())) {
    throw JobError(path + ": error: the run has no float model yet, " + folder.float_model() +
                   "; finish it with 'qat resume'");
  }
  Job job = load_job(folder.job(), overrides);
  job.weights = folder.float_model();
  job.weights_place = path;
  if (!replaces(overrides, "run")) job.run.clear();
  if (!replaces(overrides, "name")) job.name += "-calibrated";
  return job;
}

}  // namespace

int calibrate(const std::string& what, const std::vector<std::string>& overrides) {
  install_stop_handler();
  refuse_training(overrides);
  Job job =
      std::filesystem::is_directory(what) ? job_of_run(what, overrides) : load_job(what, overrides);
  job.qat.epochs = 0;
  if (job.recipe.prune.method != PruneMethod::none) {
    throw JobError(what +
                   ": error: recipe.prune: weights are pruned in quantization-aware steps, and "
                   "'qat calibrate' has none; use 'qat train', or prune.method: none");
  }
  RunFolder folder = choose_folder(job);
  return conclude(run_job(job, folder));
}

}  // namespace qat::bin
