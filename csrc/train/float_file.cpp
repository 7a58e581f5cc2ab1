#include "train/float_file.h"

#include <map>

#include "error.h"
#include "train/sizes_text.h"
#include "train/tensor_file.h"
#include "train/yaml_tree.h"

namespace qat::train {
namespace {

[[noreturn]] void fail(const FloatFile& file, const std::string& message) {
  throw JobError(file.place + ": error: " + file.key + ": " + message);
}

NamedTensors load(const FloatFile& file) {
  try {
    return load_tensors(file.path).tensors;
  } catch (const Error& error) {
    fail(file, error.what());
  }
}

}  // namespace

NamedTensors load_float_file(const FloatFile& file, const Network& network, const DataSet& data) {
  NamedTensors tensors = load(file);
  const std::map<std::string, at::Tensor> there(tensors.begin(), tensors.end());
  const NamedTensors wanted = tensors_of(network);
  for (const auto& [name, tensor] : wanted) {
    const auto found = there.find(name);
    if (found != there.end() && found->second.sizes() == tensor.sizes()) continue;
    fail(file,
         file.path + " does not fit samples of " + sizes_text(data.shape) + " in " +
             std::to_string(data.classes) + " classes: its tensor '" + name + "' " +
             (found == there.end() ? "is missing" : "is " + sizes_text(found->second.sizes())) +
             ", " + file.whose + " needs " + sizes_text(tensor.sizes()) +
             "; give the job the model and the data that the file was trained with, or "
             "another file");
  }
  const std::map<std::string, at::Tensor> known(wanted.begin(), wanted.end());
  for (const auto& [name, tensor] : tensors) {
    if (!known.contains(name)) {
      fail(file, file.path + ": its tensor '" + name + "' belongs to no part of " + file.whose +
                     "; give the job the model that the file was trained with, or another file");
    }
  }
  return tensors;
}

}  // namespace qat::train
