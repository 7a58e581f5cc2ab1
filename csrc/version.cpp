#include "version.h"

#include <ATen/Version.h>
#include <torch/version.h>

#include <string>

#include "error.h"

namespace qat {

const char* version() { return QAT_VERSION; }

const char* torch_version() { return TORCH_VERSION; }

namespace {

// The version is not exported as a symbol; the build settings that torch prints hold it.
std::string loaded_torch_version() {
  const std::string settings = at::show_config();
  const std::string key = "TORCH_VERSION=";
  const size_t begin = settings.find(key);
  if (begin == std::string::npos) return "of unknown version";
  return settings.substr(begin + key.size(),
                         settings.find_first_of(",\n", begin) - begin - key.size());
}

const bool checked = [] {
  const std::string loaded = loaded_torch_version();
  if (loaded != TORCH_VERSION) {
    throw Error("qat_ext: built against torch " TORCH_VERSION ", but torch " + loaded +
                " is loaded; rebuild qat_ext with this torch or install torch " TORCH_VERSION);
  }
  return true;
}();

}  // namespace
}  // namespace qat
