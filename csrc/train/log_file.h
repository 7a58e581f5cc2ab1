#pragma once
// A file that a run appends to, and that a resumed run continues.

#include <cstdint>
#include <fstream>
#include <string>

namespace qat::train {

class LogFile {
 public:
  // Cuts an existing file to keep_bytes: what follows belongs to steps that run again.
  LogFile(const std::string& path, int64_t keep_bytes);
  // On disk when it returns, or throws qat::Error naming the file.
  void append(const std::string& bytes);
  int64_t bytes() const { return bytes_; }

 private:
  std::string path_;
  std::ofstream file_;
  int64_t bytes_ = 0;
};

}  // namespace qat::train
