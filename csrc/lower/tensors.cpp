#include "lower/tensors.h"

#include <ATen/ops/empty.h>

#include <cstring>

#include "error.h"

namespace qat::lower {
namespace {

graph::TensorType type_of(at::ScalarType dtype, const std::string& what) {
  switch (dtype) {
    case at::kFloat:
      return graph::TensorType::float32;
    case at::kLong:
      return graph::TensorType::int64;
    case at::kBool:
      return graph::TensorType::boolean;
    case at::kChar:
      return graph::TensorType::int8;
    case at::kByte:
      return graph::TensorType::uint8;
    default:
      break;
  }
  throw Error(what + ": expected element type float32, int64, bool, int8 or uint8, got " +
              std::string(c10::toString(dtype)) + "; convert it with .to().");
}

at::ScalarType dtype_of(graph::TensorType type) {
  switch (type) {
    case graph::TensorType::float32:
      return at::kFloat;
    case graph::TensorType::int64:
      return at::kLong;
    case graph::TensorType::boolean:
      return at::kBool;
    case graph::TensorType::int8:
      return at::kChar;
    case graph::TensorType::uint8:
      return at::kByte;
  }
  return at::kFloat;
}

}  // namespace

graph::Tensor to_graph(const at::Tensor& tensor, const std::string& what) {
  const at::Tensor dense = tensor.detach().contiguous();
  graph::Tensor made;
  made.type = type_of(dense.scalar_type(), what);
  made.shape = dense.sizes().vec();
  made.bytes.resize(dense.nbytes());
  if (!made.bytes.empty()) std::memcpy(made.bytes.data(), dense.const_data_ptr(), dense.nbytes());
  return made;
}

at::Tensor to_aten(const graph::Tensor& tensor) {
  at::Tensor made = at::empty(tensor.shape, dtype_of(tensor.type));
  if (!tensor.bytes.empty()) {
    std::memcpy(made.mutable_data_ptr(), tensor.bytes.data(), tensor.bytes.size());
  }
  return made;
}

}  // namespace qat::lower
