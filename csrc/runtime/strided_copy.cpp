#include "runtime/strided_copy.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "error.h"
#include "runtime/parallel.h"

namespace qat::runtime {
namespace {

constexpr size_t kMaxLoops = 64;
constexpr int64_t kBlock = 32;  // rows and elements; both sides of 8 bytes fit the level-1 cache

template <size_t width>
void copy_ends(std::byte* to, const std::byte* from, size_t n) {  // width <= n <= 2 * width
  std::memcpy(to, from, width);
  std::memcpy(to + n - width, from + n - width, width);
}

// memcpy without its call for the few bytes that a position has.
void copy_bytes(std::byte* to, const std::byte* from, size_t n) {
  if (n > 64) {
    std::memcpy(to, from, n);
  } else if (n >= 32) {
    copy_ends<32>(to, from, n);
  } else if (n >= 16) {
    copy_ends<16>(to, from, n);
  } else if (n >= 8) {
    copy_ends<8>(to, from, n);
  } else if (n >= 4) {
    copy_ends<4>(to, from, n);
  } else {
    for (size_t i = 0; i < n; ++i) to[i] = from[i];
  }
}

// to[row][k] = from[k][row], `columns` known to the compiler, which then shuffles vectors.
template <typename T, int64_t columns>
void interleave(T* __restrict to, const T* __restrict from, int64_t from_stride, int64_t rows) {
#pragma omp simd
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t k = 0; k < columns; ++k) to[row * columns + k] = from[k * from_stride + row];
  }
}

}  // namespace

// The outer loops at one iteration.
class StridedCopy::Position {
 public:
  Position(const StridedCopy& copy, int64_t iteration)
      : loops_(copy.outer_), to_(copy.to_), from_(copy.from_) {
    for (size_t i = loops_.size(); i-- > 0;) {
      index_[i] = iteration % loops_[i].size;
      iteration /= loops_[i].size;
      to_ += index_[i] * loops_[i].to;
      from_ += index_[i] * loops_[i].from;
    }
  }
  int64_t to() const { return to_; }
  int64_t from() const { return from_; }
  void advance() {
    for (size_t i = loops_.size(); i-- > 0;) {
      to_ += loops_[i].to;
      from_ += loops_[i].from;
      if (++index_[i] < loops_[i].size) return;
      to_ -= loops_[i].size * loops_[i].to;
      from_ -= loops_[i].size * loops_[i].from;
      index_[i] = 0;
    }
  }

 private:
  const std::vector<Loop>& loops_;
  std::array<int64_t, kMaxLoops> index_;
  int64_t to_, from_;
};

StridedCopy::StridedCopy(size_t element, const Sizes& shape, const StridedSide& to,
                         const StridedSide& from)
    : element_(element), to_(to.offset), from_(from.offset) {
  merge(shape, to, from);
  choose_inner();
  if (outer_.size() > kMaxLoops) {
    throw Error("a tensor of shape " + to_string(shape) + " has more than " +
                std::to_string(kMaxLoops) + " axes to move");
  }
}

void StridedCopy::merge(const Sizes& shape, const StridedSide& to, const StridedSide& from) {
  for (size_t i = 0; i < shape.size(); ++i) {
    const Loop loop{shape[i], to.strides[i], from.strides[i]};
    empty_ = empty_ || loop.size == 0;
    if (loop.size == 1) continue;
    if (!outer_.empty() && outer_.back().to == loop.size * loop.to &&
        outer_.back().from == loop.size * loop.from) {
      outer_.back() = {outer_.back().size * loop.size, loop.to, loop.from};
    } else {
      outer_.push_back(loop);
    }
  }
}

void StridedCopy::choose_inner() {
  if (!outer_.empty()) {
    inner_ = outer_.back();
    outer_.pop_back();
  }
  const bool consecutive = inner_.to == 1 && inner_.from == 1;
  auto rows = outer_.end();
  if (!consecutive) {
    rows = std::find_if(outer_.begin(), outer_.end(), [](const Loop& l) { return l.from == 1; });
  }
  if (rows == outer_.end() && !outer_.empty()) --rows;
  if (rows != outer_.end()) {
    rows_ = *rows;
    outer_.erase(rows);
  }
  if (!consecutive) return;
  const auto bytes = static_cast<int64_t>(element_);  // as many bytes in a row
  inner_.size *= bytes;
  rows_.to *= bytes;
  rows_.from *= bytes;
  to_ *= bytes;
  from_ *= bytes;
  for (Loop& loop : outer_) loop = {loop.size, loop.to * bytes, loop.from * bytes};
  element_ = 1;
}

template <typename T>
void StridedCopy::copy_elements(T* to, const T* from, int64_t rows) const {
  if (rows_.from == 1 && inner_.to == 1 && rows_.to == inner_.size) {
    if (inner_.size == 2) return interleave<T, 2>(to, from, inner_.from, rows);
    if (inner_.size == 3) return interleave<T, 3>(to, from, inner_.from, rows);
    if (inner_.size == 4) return interleave<T, 4>(to, from, inner_.from, rows);
  }
  for (int64_t r0 = 0; r0 < rows; r0 += kBlock) {
    for (int64_t i0 = 0; i0 < inner_.size; i0 += kBlock) {
      const int64_t r1 = std::min(r0 + kBlock, rows), i1 = std::min(i0 + kBlock, inner_.size);
      for (int64_t r = r0; r < r1; ++r) {
        T* row = to + r * rows_.to;
        const T* source = from + r * rows_.from;
        for (int64_t i = i0; i < i1; ++i) row[i * inner_.to] = source[i * inner_.from];
      }
    }
  }
}

void StridedCopy::copy_rows(std::byte* to, const std::byte* from, int64_t rows) const {
  if (inner_.to == 1 && inner_.from == 1) {  // elements are bytes
    for (int64_t r = 0; r < rows; ++r) {
      copy_bytes(to + r * rows_.to, from + r * rows_.from, static_cast<size_t>(inner_.size));
    }
    return;
  }
  const auto typed = [&]<typename T>(T*) {
    copy_elements(reinterpret_cast<T*>(to), reinterpret_cast<const T*>(from), rows);
  };
  if (element_ == 1) typed(static_cast<uint8_t*>(nullptr));
  if (element_ == 4) typed(static_cast<uint32_t*>(nullptr));
  if (element_ == 8) typed(static_cast<uint64_t*>(nullptr));
}

void StridedCopy::run(std::byte* to, const std::byte* from, int threads) const {
  if (empty_) return;
  int64_t rows = rows_.size;
  for (const Loop& loop : outer_) rows *= loop.size;
  const auto element = static_cast<int64_t>(element_);
  parallel_for(threads, rows, kElementGrain / inner_.size, [&](int64_t begin, int64_t end) {
    Position at(*this, begin / rows_.size);
    for (int64_t first = begin % rows_.size; begin < end; first = 0, at.advance()) {
      const int64_t count = std::min(rows_.size - first, end - begin);
      copy_rows(to + (at.to() + first * rows_.to) * element,
                from + (at.from() + first * rows_.from) * element, count);
      begin += count;
    }
  });
}

}  // namespace qat::runtime
