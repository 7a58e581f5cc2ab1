#include "kernels/cpu/depthwise_quads.h"

#include <algorithm>

namespace qat::kernels::u8s8 {
namespace {

constexpr int64_t kNoTap = -1;

std::vector<int64_t> slots(int64_t kernel_h, int64_t kernel_w, bool three_columns) {
  if (three_columns) return {0, 3, 6, kNoTap, 1, 4, 7, kNoTap, 2, 5, 8, kNoTap};
  const int64_t taps = kernel_h * kernel_w;
  std::vector<int64_t> result;
  for (int64_t i = 0; i < (taps + 3) / 4 * 4; ++i) result.push_back(i < taps ? i : kNoTap);
  return result;
}

// The channel behind position `i` of a vector `j`, as unpacking leaves them.
int64_t channel_of(int64_t j, int64_t i) { return i / 4 * 16 + j * 4 + i % 4; }

}  // namespace

PackedQuads pack_quads(const int8_t* weight, int64_t channels, int64_t kernel_h, int64_t kernel_w) {
  PackedQuads p;
  if (channels < 32) return p;
  p.width = channels < 64 ? 32 : 64;
  p.three_columns = kernel_h == 3 && kernel_w == 3;
  p.taps = slots(kernel_h, kernel_w, p.three_columns);
  for (int64_t c = 0; c < channels; c += p.width) {
    p.channels.push_back(std::min(c, channels - p.width));
  }
  p.weights = AlignedBytes(p.channels.size() * p.taps.size() * static_cast<size_t>(p.width));
  auto* to = reinterpret_cast<int8_t*>(p.weights.data());
  for (const int64_t first : p.channels) {
    for (size_t quad = 0; quad < p.taps.size(); quad += 4) {
      for (int64_t k = 0; k < p.width; ++k) {
        const int64_t c = first + channel_of(k / (p.width / 4), k % (p.width / 4));
        for (size_t slot = quad; slot < quad + 4; ++slot) {
          const int64_t tap = p.taps[slot];
          *to++ = tap == kNoTap ? int8_t{0} : weight[c * kernel_h * kernel_w + tap];
        }
      }
    }
  }
  for (size_t i = 0; i < p.taps.size(); ++i) {
    if (p.taps[i] == kNoTap) p.taps[i] = p.taps[i / 4 * 4];
  }
  return p;
}

}  // namespace qat::kernels::u8s8
