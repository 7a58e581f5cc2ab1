#pragma once
// Scalars for TensorBoard: TFRecord frames around protobuf messages, written by hand.

#include <cstdint>
#include <string>

#include "train/log_file.h"

namespace qat::train {

// CRC-32C, rotated and offset as TFRecord wants it.
uint32_t masked_crc32c(const char* data, size_t size);

class EventFile {
 public:
  // Appends to `path`, cut to keep_bytes first; a new file starts with the version record.
  EventFile(const std::string& path, int64_t keep_bytes);
  void scalar(const std::string& tag, int64_t step, double value, double wall_time);
  int64_t bytes() const { return file_.bytes(); }  // written so far

 private:
  void record(const std::string& message);
  LogFile file_;
};

}  // namespace qat::train
