#include "train/log_file.h"

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "error.h"

namespace qat::train {
namespace {

[[noreturn]] void fail(const std::string& path, const char* reason) {
  throw Error(path + ": cannot write this file: " + reason);
}

}  // namespace

LogFile::LogFile(const std::string& path, int64_t keep_bytes) : path_(path) {
  const auto keep = static_cast<uintmax_t>(keep_bytes);
  if (std::filesystem::is_regular_file(path)) {
    // Only ever shorter: growing would fill the file with zeros.
    if (std::filesystem::file_size(path) > keep) std::filesystem::resize_file(path, keep);
    bytes_ = static_cast<int64_t>(std::filesystem::file_size(path));
  }
  errno = 0;
  file_.open(path, std::ios::binary | std::ios::app);
  if (!file_) fail(path, std::strerror(errno));
}

void LogFile::append(const std::string& bytes) {
  errno = 0;
  file_ << bytes << std::flush;
  if (!file_) fail(path_, std::strerror(errno));
  bytes_ += static_cast<int64_t>(bytes.size());
}

}  // namespace qat::train
