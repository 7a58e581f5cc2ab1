#include "train/run_folder.h"

#include <unistd.h>

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

// The job is written beside its place and linked there: one of two processes does. False: a job is
// there already.
bool place_job(const RunFolder& folder, const Job& job) {
  const std::string written = folder.job() + "." + std::to_string(::getpid());
  safetensors::write_file(written, to_yaml(job));
  std::error_code error;
  fs::create_hard_link(written, folder.job(), error);
  const bool taken = error == std::errc::file_exists;
  // A file system without links.
  if (error && !taken) fs::rename(written, folder.job());
  fs::remove(written, error);
  return !taken;
}

bool claim(const RunFolder& folder, const Job& job) {
  if (fs::exists(folder.job())) return false;
  std::error_code error;
  fs::create_directories(folder.checkpoints(), error);
  if (error)
    throw JobError("run: error: cannot make the folder " + folder.path + ": " + error.message());
  try {
    return place_job(folder, job);
  } catch (...) {
    // These go if they are empty.
    fs::remove(folder.checkpoints(), error);
    fs::remove(folder.path, error);
    throw;
  }
}

}  // namespace

RunFolder choose_folder(Job& job) {
  if (!job.run.empty()) {
    if (fs::exists(job.run + "/job.yaml")) refuse_taken(job.run);
    return {job.run};
  }
  const std::string base = fs::absolute("runs/" + job.name).string();
  job.run = base;
  for (int number = 2; fs::exists(job.run); ++number) {
    job.run = base + "-" + std::to_string(number);
  }
  return {job.run, true};
}

void make_folder(RunFolder& folder, Job& job) {
  while (!claim(folder, job)) {
    if (!folder.numbered) refuse_taken(folder.path);
    job.run.clear();
    folder = choose_folder(job);
  }
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
