#pragma once

#include <c10/util/ArrayRef.h>

#include <cstdint>
#include <string>

namespace qat::train {

// "[1, 28, 28]"
inline std::string sizes_text(c10::IntArrayRef sizes) {
  std::string text = "[";
  for (const int64_t size : sizes) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

}  // namespace qat::train
