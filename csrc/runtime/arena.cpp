#include "runtime/arena.h"

#include <algorithm>
#include <numeric>

namespace qat::runtime {
namespace {

constexpr size_t kAlignment = 64;

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

bool overlap(const Lifetime& a, const Lifetime& b) {
  return a.first <= b.last && b.first <= a.last;
}

}  // namespace

Arena place(const std::vector<Lifetime>& buffers) {
  std::vector<size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return buffers[a].bytes > buffers[b].bytes; });
  Arena arena;
  arena.offsets.assign(buffers.size(), 0);
  std::vector<size_t> placed;  // by offset
  for (const size_t buffer : order) {
    const size_t bytes = aligned(buffers[buffer].bytes);
    size_t at = 0;
    for (const size_t other : placed) {
      if (!overlap(buffers[buffer], buffers[other])) continue;
      if (at + bytes <= arena.offsets[other]) break;
      at = std::max(at, arena.offsets[other] + aligned(buffers[other].bytes));
    }
    arena.offsets[buffer] = at;
    arena.bytes = std::max(arena.bytes, at + bytes);
    const auto above = std::upper_bound(placed.begin(), placed.end(), at,
                                        [&](size_t a, size_t b) { return a < arena.offsets[b]; });
    placed.insert(above, buffer);
  }
  return arena;
}

}  // namespace qat::runtime
