#include "runtime/views.h"

#include "error.h"

namespace qat::runtime {

View view_of(const graph::Value& value, int64_t batch, Layout layout) {
  View view{storage_type(value), physical_shape(shape_at(value.shape, batch), layout), 0, nullptr};
  for (const int64_t size : view.shape) {
    if (size >= 0) continue;
    throw Error("value '" + value.name + "': its shape " + to_string(value.shape) +
                " is negative at B = " + std::to_string(batch));
  }
  // 2^44 elements of 8 bytes, and thousands of such values, are still far from overflow.
  constexpr int64_t kMostElements = int64_t{1} << 44;
  view.numel = 1;
  for (const int64_t size : view.shape) {
    if (!__builtin_mul_overflow(view.numel, size, &view.numel) && view.numel <= kMostElements)
      continue;
    throw Error("value '" + value.name + "': its shape " + to_string(value.shape) +
                " is too large at B = " + std::to_string(batch));
  }
  return view;
}

void check_made(const graph::Node& node, const Sizes& made, const View& output) {
  check_made(node, output.type, made, output);
}

void check_made(const graph::Node& node, TensorType type, const Sizes& made, const View& output) {
  if (type == output.type && made == output.shape) return;
  fail(node, std::string("made ") + to_string(type) + to_string(made) + ", the graph says " +
                 to_string(output.type) + to_string(output.shape));
}

}  // namespace qat::runtime
