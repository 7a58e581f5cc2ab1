#include "runtime/strided_copy.h"

#include <cstring>

#include "runtime/parallel.h"

namespace qat::runtime {
namespace {

template <typename T>
void copy_row(T* to, int64_t to_stride, const T* from, int64_t from_stride, int64_t n) {
  if (to_stride == 1 && from_stride == 1) {
    std::memcpy(to, from, static_cast<size_t>(n) * sizeof(T));
    return;
  }
  for (int64_t i = 0; i < n; ++i) to[i * to_stride] = from[i * from_stride];
}

// Offset of row `index` of all axes but the last.
int64_t row_offset(const Sizes& shape, const StridedSide& side, int64_t index) {
  int64_t offset = side.offset;
  for (size_t axis = shape.size() - 1; axis-- > 0;) {
    offset += index % shape[axis] * side.strides[axis];
    index /= shape[axis];
  }
  return offset;
}

template <typename T>
void copy_typed(const Sizes& shape, T* to, const StridedSide& to_side, const T* from,
                const StridedSide& from_side, int threads) {
  const int64_t inner = shape.back();
  const int64_t rows = inner == 0 ? 0 : product(shape) / inner;
  const int64_t grain = kElementGrain / std::max<int64_t>(inner, 1);
  parallel_for(threads, rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      copy_row(to + row_offset(shape, to_side, r), to_side.strides.back(),
               from + row_offset(shape, from_side, r), from_side.strides.back(), inner);
    }
  });
}

}  // namespace

void copy_strided(size_t element, const Sizes& shape, std::byte* to, const StridedSide& to_side,
                  const std::byte* from, const StridedSide& from_side, int threads) {
  const auto copy = [&]<typename T>(T*) {
    const Sizes one{1};
    const auto padded = [&](StridedSide side) {
      if (side.strides.empty()) side.strides = one;
      return side;
    };
    copy_typed(shape.empty() ? one : shape, reinterpret_cast<T*>(to), padded(to_side),
               reinterpret_cast<const T*>(from), padded(from_side), threads);
  };
  if (element == 1) copy(static_cast<uint8_t*>(nullptr));
  if (element == 4) copy(static_cast<uint32_t*>(nullptr));
  if (element == 8) copy(static_cast<uint64_t*>(nullptr));
}

}  // namespace qat::runtime
