#pragma once
// IDX, the format of MNIST: unsigned bytes, plain or gzipped.

#include <cstdint>
#include <string>
#include <vector>

namespace qat::train {

struct IdxFile {
  std::vector<int64_t> shape;
  std::string bytes;  // row-major
};

// Throws qat::Error naming the file, the rule and the value found.
IdxFile read_idx(const std::string& path);

// The same from memory (already unpacked); `origin` stands for the path in messages.
IdxFile parse_idx(std::string bytes, const std::string& origin);

}  // namespace qat::train
