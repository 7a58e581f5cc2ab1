#include "runtime/layout.h"

#include <cstring>

#include "runtime/parallel.h"

namespace qat::runtime {
namespace {

// Writes to[j][i] = from[i][j] for one image.
template <typename T>
void transpose(const T* from, T* to, int64_t rows, int64_t columns) {
  if (rows == 1 || columns == 1) {
    std::memcpy(to, from, static_cast<size_t>(rows * columns) * sizeof(T));
    return;
  }
  constexpr int64_t kBlock = 32;  // of both sides fit the level-1 cache
  for (int64_t i0 = 0; i0 < rows; i0 += kBlock) {
    for (int64_t j0 = 0; j0 < columns; j0 += kBlock) {
      const int64_t i1 = std::min(i0 + kBlock, rows), j1 = std::min(j0 + kBlock, columns);
      for (int64_t j = j0; j < j1; ++j) {
        for (int64_t i = i0; i < i1; ++i) to[j * rows + i] = from[i * columns + j];
      }
    }
  }
}

template <typename T>
void transpose_images(const std::byte* from, std::byte* to, int64_t images, int64_t rows,
                      int64_t columns, int threads) {
  const int64_t image = rows * columns;
  parallel_for(threads, images, kElementGrain / std::max<int64_t>(image, 1),
               [&](int64_t begin, int64_t end) {
                 for (int64_t n = begin; n < end; ++n) {
                   transpose(reinterpret_cast<const T*>(from) + n * image,
                             reinterpret_cast<T*>(to) + n * image, rows, columns);
                 }
               });
}

}  // namespace

Sizes physical_shape(const Sizes& shape, Layout layout) {
  if (layout == Layout::row_major || shape.size() != 4) return shape;
  return {shape[0], shape[2], shape[3], shape[1]};
}

void change_layout(const std::byte* from, const Sizes& s, size_t element, Layout to, std::byte* out,
                   int threads) {
  const bool last = to == Layout::channels_last;
  const int64_t rows = last ? s[1] : s[1] * s[2];
  const int64_t columns = last ? s[2] * s[3] : s[3];
  if (element == 1) return transpose_images<uint8_t>(from, out, s[0], rows, columns, threads);
  if (element == 4) return transpose_images<uint32_t>(from, out, s[0], rows, columns, threads);
  transpose_images<uint64_t>(from, out, s[0], rows, columns, threads);
}

}  // namespace qat::runtime
