#pragma once
// A text file as a whole.

#include <string>

namespace qat::train {

// Throws qat::Error naming the path and the reason; an empty file is one.
std::string read_text(const std::string& path);

}  // namespace qat::train
