#include "train/text_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "error.h"

namespace qat::train {

std::string read_text(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (file && text << file.rdbuf()) return text.str();
  if (errno == 0) throw Error(path + ": the file is empty");
  throw Error(path + ": cannot read this file: " + std::strerror(errno));
}

}  // namespace qat::train
