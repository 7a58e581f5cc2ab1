#include "runtime/tensors.h"

#include "error.h"

namespace qat::runtime {

Tensor make_tensor(TensorType type, Sizes shape) {
  Tensor tensor{type, std::move(shape), {}};
  tensor.bytes.resize(static_cast<size_t>(tensor.numel()) * graph::element_size(type));
  return tensor;
}

int64_t product(const Sizes& sizes) {
  int64_t n = 1;
  for (const int64_t size : sizes) n *= size;
  return n;
}

Sizes row_major_strides(const Sizes& shape) {
  Sizes strides(shape.size(), 1);
  for (size_t axis = shape.size(); axis-- > 1;) strides[axis - 1] = strides[axis] * shape[axis];
  return strides;
}

Sizes shape_at(const graph::Shape& shape, int64_t batch) {
  Sizes sizes;
  sizes.reserve(shape.size());
  for (const graph::Affine& size : shape) sizes.push_back(size.at(batch));
  return sizes;
}

TensorType storage_type(const graph::Value& value) {
  switch (value.type) {
    case graph::ElementType::codes:
      return value.format.is_signed ? TensorType::int8 : TensorType::uint8;
    case graph::ElementType::int64:
      return TensorType::int64;
    case graph::ElementType::boolean:
      return TensorType::boolean;
    case graph::ElementType::float32:
      break;
  }
  return TensorType::float32;
}

namespace {

std::string to_string(graph::Affine size) {
  if (size.per_batch == 0) return std::to_string(size.constant);
  std::string text = size.per_batch == 1 ? "B" : std::to_string(size.per_batch) + "*B";
  if (size.constant > 0) text += "+" + std::to_string(size.constant);
  if (size.constant < 0) text += std::to_string(size.constant);
  return text;
}

std::string to_string(int64_t size) { return std::to_string(size); }

template <typename List>
std::string bracketed(const List& list) {
  std::string text = "[";
  for (size_t i = 0; i < list.size(); ++i) text += (i ? ", " : "") + to_string(list[i]);
  return text + "]";
}

}  // namespace

std::string to_string(const Sizes& shape) { return bracketed(shape); }
std::string to_string(const graph::Shape& shape) { return bracketed(shape); }

const char* to_string(TensorType type) {
  switch (type) {
    case TensorType::int8:
      return "int8";
    case TensorType::uint8:
      return "uint8";
    case TensorType::float32:
      return "float32";
    case TensorType::int64:
      return "int64";
    case TensorType::boolean:
      break;
  }
  return "boolean";
}

void fail(const graph::Node& node, const std::string& message) {
  throw Error("node '" + node.name + "' (" + graph::operator_name(node.attributes) +
              "): " + message);
}

const Tensor& node_tensor(const graph::Model& model, const graph::Node& node,
                          const std::string& name, TensorType type, const Sizes& shape) {
  const auto found = model.tensors.find(name);
  if (found == model.tensors.end()) fail(node, "the model has no tensor '" + name + "'");
  const Tensor& tensor = found->second;
  if (tensor.type != type || tensor.shape != shape) {
    fail(node, "tensor '" + name + "': expected " + to_string(type) + to_string(shape) + ", got " +
                   to_string(tensor.type) + to_string(tensor.shape));
  }
  return tensor;
}

}  // namespace qat::runtime
