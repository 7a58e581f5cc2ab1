#include "train/run_folder.h"

#include <filesystem>

#include "checkpoint/safetensors.h"
#include "train/yaml_tree.h"

namespace qat::train {
namespace fs = std::filesystem;

namespace {

[[noreturn]] void refuse_taken(const std::string& path) {
  throw JobError("run: error: " + path + " holds a run already; continue it with 'qat resume " +
                 path + "' or choose another folder");
}

}  // namespace

RunFolder choose_folder(Job& job) {
  if (job.run.empty()) {
    const std::string base = fs::absolute("runs/" + job.name).string();
    job.run = base;
    for (int number = 2; fs::exists(job.run); ++number) {
      job.run = base + "-" + std::to_string(number);
    }
  } else if (fs::exists(job.run + "/job.yaml")) {
    refuse_taken(job.run);
  }
  return {job.run};
}

void make_folder(const RunFolder& folder, const Job& job) {
  std::error_code error;
  fs::create_directories(folder.path, error);
  // Of two processes that ask for the same folder one makes it and the other one learns of it.
  const bool made = !error && fs::create_directory(folder.checkpoints(), error);
  if (error)
    throw JobError("run: error: cannot make the folder " + folder.path + ": " + error.message());
  if (!made) refuse_taken(folder.path);
  safetensors::write_file(folder.job(), to_yaml(job));
}

RunFolder open_run(const std::string& path) {
  std::string absolute = fs::absolute(path).lexically_normal().string();
  if (absolute.size() > 1 && absolute.back() == '/') absolute.pop_back();
  const RunFolder folder{absolute};
  // A folder with just a job in it is where somebody keeps jobs.
  for (const std::string& part : {folder.job(), folder.checkpoints()}) {
    if (fs::exists(part)) continue;
    throw JobError(path + ": error: expected a run folder, but there is no " + part);
  }
  return folder;
}

}  // namespace qat::train
