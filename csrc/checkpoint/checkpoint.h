#pragma once
// Reading and writing the int8 checkpoint, docs/format.md.

#include <string>

#include "graph/model.h"

namespace qat::checkpoint {

constexpr int kFormatVersion = 1;
constexpr int kNumericsVersion = 1;

// Writes the file whole or not at all: temporary file in the same folder, fsync, rename, fsync of
// the folder. Throws qat::Error that names the path and the cause; whatever was at `path` stays.
void save(const graph::Model& model, const std::string& path);

// Reads and checks everything docs/format.md demands. Throws qat::Error that names the path, the
// part of the file, the rule and the value found.
graph::Model load(const std::string& path);

// The same from and to memory; `origin` stands for the path in messages.
std::string serialize(const graph::Model& model);
graph::Model parse(const std::string& bytes, const std::string& origin);

}  // namespace qat::checkpoint
