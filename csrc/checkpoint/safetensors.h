#pragma once
// The safetensors container on its own: named tensors and a map of strings. Used by the int8
// checkpoint, by training checkpoints and as a data-set format.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace qat::safetensors {

struct Entry {
  std::string dtype;  // "F32", "I64", ... as in the file
  std::vector<int64_t> shape;
  std::string bytes;  // row-major, little-endian
};

struct File {
  std::map<std::string, Entry> tensors;
  std::map<std::string, std::string> metadata;
};

// Layout as docs/format.md: large elements first, then by ascending name, without gaps.
std::string serialize(const File& file);
// `origin` stands for the path in messages. Throws qat::Error for anything malformed.
File parse(const std::string& bytes, const std::string& origin);

std::string read_file(const std::string& path);
// Temporary file in the same folder, fsync, rename, fsync of the folder; all or nothing.
void write_file(const std::string& path, const std::string& bytes);

}  // namespace qat::safetensors
