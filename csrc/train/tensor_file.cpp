#include "train/tensor_file.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <cstring>

#include "checkpoint/digest.h"
#include "checkpoint/safetensors.h"
#include "error.h"

namespace qat::train {
namespace {

struct DtypeName {
  at::ScalarType type;
  const char* name;
};
constexpr DtypeName kDtypes[] = {{at::kDouble, "F64"}, {at::kFloat, "F32"}, {at::kLong, "I64"},
                                 {at::kChar, "I8"},    {at::kByte, "U8"},   {at::kBool, "BOOL"}};

constexpr const char* kDigest = "qat_ext.sha256";

}  // namespace

void save_tensors(const std::string& path, const NamedTensors& tensors, const Metadata& metadata) {
  safetensors::File file;
  file.metadata = metadata;
  file.metadata[kDigest] = checkpoint::blank_digest();
  for (const auto& [name, tensor] : tensors) {
    const char* dtype = nullptr;
    for (const auto& known : kDtypes) {
      if (known.type == tensor.scalar_type()) dtype = known.name;
    }
    if (!dtype) {
      throw Error(path + ": " + name + ": cannot be stored, its type is " +
                  c10::toString(tensor.scalar_type()));
    }
    const at::Tensor dense = tensor.detach().cpu().contiguous();
    file.tensors[name] = {dtype,
                          dense.sizes().vec(),
                          {static_cast<const char*>(dense.const_data_ptr()), dense.nbytes()}};
  }
  std::string bytes = safetensors::serialize(file);
  checkpoint::insert_digest(bytes);
  safetensors::write_file(path, bytes);
}

TensorFile load_tensors(const std::string& path, const std::string& remedy) {
  const std::string bytes = safetensors::read_file(path);
  const auto file = safetensors::parse(bytes, path);
  const auto digest = file.metadata.find(kDigest);
  if (digest != file.metadata.end()) {
    checkpoint::require_digest(bytes, kDigest, digest->second, path, remedy);
  }
  TensorFile result{.tensors = {}, .metadata = file.metadata};
  for (const auto& [name, entry] : file.tensors) {
    const DtypeName* dtype = nullptr;
    for (const auto& known : kDtypes) {
      if (entry.dtype == known.name) dtype = &known;
    }
    if (!dtype)
      throw Error(path + ": " + name + ": expected F64, F32, I64, I8, U8 or BOOL, found " +
                  entry.dtype);
    const at::Tensor tensor = at::empty(entry.shape, at::TensorOptions().dtype(dtype->type));
    std::memcpy(tensor.mutable_data_ptr(), entry.bytes.data(), entry.bytes.size());
    result.tensors.emplace_back(name, tensor);
  }
  return result;
}

NamedTensors with_prefix(const NamedTensors& tensors, const std::string& prefix) {
  NamedTensors out;
  for (const auto& [name, tensor] : tensors) {
    if (name.starts_with(prefix)) out.emplace_back(name.substr(prefix.size()), tensor);
  }
  return out;
}

void add_prefixed(NamedTensors& to, const std::string& prefix, const NamedTensors& from) {
  for (const auto& [name, tensor] : from) to.emplace_back(prefix + name, tensor);
}

void copy_values(const NamedTensors& from, const NamedTensors& to, const std::string& origin) {
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> values(from.begin(), from.end());
  for (const auto& [name, tensor] : to) {
    const auto found = values.find(name);
    if (found == values.end()) throw Error(origin + ": has no tensor '" + name + "'");
    if (found->second.sizes() != tensor.sizes()) {
      throw Error(origin + ": tensor '" + name + "' has another shape than the model of the job");
    }
    tensor.copy_(found->second);
    values.erase(found);
  }
  if (!values.empty()) {
    throw Error(origin + ": tensor '" + values.begin()->first +
                "' belongs to no part of the model");
  }
}

}  // namespace qat::train
