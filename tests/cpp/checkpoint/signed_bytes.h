#pragma once
// A file that was changed by hand, with the digest that its bytes have.

#include <string>

#include "checkpoint/safetensors.h"
#include "checkpoint/sha256.h"

namespace qat::checkpoint {

inline std::string signed_bytes(safetensors::File file) {
  file.metadata["sha256"] = std::string(64, '0');
  std::string bytes = safetensors::serialize(file);
  bytes.replace(bytes.find(std::string(64, '0')), 64, sha256(bytes));
  return bytes;
}

}  // namespace qat::checkpoint
