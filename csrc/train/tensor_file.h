#pragma once
// Named tensors to and from safetensors files.

#include <map>
#include <string>

#include "named_tensors.h"

namespace qat::train {

using Metadata = std::map<std::string, std::string>;

struct TensorFile {
  NamedTensors tensors;  // by ascending name
  Metadata metadata;
};

// All or nothing, as checkpoint/safetensors.h. Float32, int64, uint8 and bool. The file carries a
// digest of itself (checkpoint/digest.h).
void save_tensors(const std::string& path, const NamedTensors& tensors, const Metadata& metadata);
// A file that carries a digest, which those of other programs do not, must agree with it; remedy:
// what to do when it does not.
TensorFile load_tensors(const std::string& path,
                        const std::string& remedy = "put back an undamaged copy or train anew");

// Entries whose name starts with prefix, without it.
NamedTensors with_prefix(const NamedTensors& tensors, const std::string& prefix);
void add_prefixed(NamedTensors& to, const std::string& prefix, const NamedTensors& from);

// Copies values into `to` by name; both must hold the same names and shapes. `origin` is the file.
void copy_values(const NamedTensors& from, const NamedTensors& to, const std::string& origin);

}  // namespace qat::train
