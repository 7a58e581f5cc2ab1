#include "kernels/cpu/conv_backward_s16.h"

#include <algorithm>
#include <limits>

#include "kernels/cpu/conv_backward_s16_kernels.h"
#include "kernels/cpu/kernels.h"
#include "numerics/float_order.h"

namespace qat::kernels::s16 {
namespace {

constexpr float kSmallest = 0x1p-110f;
constexpr float kLargestCode = 32767.0f;

#if defined(__x86_64__)
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

std::vector<const Kernels*> find_kernels() {
  std::vector<const Kernels*> found;
#if defined(__x86_64__)
  if (u8s8::is_supported(u8s8::InstructionSet::avx512_vnni))
    found.push_back(&avx512_vnni_kernels());
  if (has_avx512()) found.push_back(&avx512_kernels());
  if (u8s8::is_supported(u8s8::InstructionSet::avx2)) found.push_back(&avx2_kernels());
#endif
  found.push_back(&portable_kernels());
  return found;
}

const Kernels& chosen() {
  static const Kernels& best = kernels_for(kernels().name);
  return best;
}

}  // namespace

const std::vector<const Kernels*>& available_kernels() {
  static const std::vector<const Kernels*> found = find_kernels();
  return found;
}

const Kernels& kernels_for([[maybe_unused]] std::string_view capability) {
#if defined(__x86_64__)
  if (capability == "avx512") return *available_kernels().front();
  if (capability == "avx2") return avx2_kernels();
#endif
  return portable_kernels();
}

bool is_supported(const ConvShape& s) {
  const int64_t taps = s.kernel[0] * s.kernel[1];
  return s.batch > 0 && s.in_channels > 0 && s.out_channels > 0 && taps > 0 && taps <= kDataFlush &&
         std::min(s.in_size[0], s.in_size[1]) > 0 && std::min(s.out_size[0], s.out_size[1]) > 0;
}

bool weight_prefers_float32(const ConvShape& s) {
  return std::min(s.in_channels, s.out_channels) * s.kernel[0] * s.kernel[1] < 64;
}

// Where images are large, memory decides, and the 16-bit gradient is read once like the other.
bool data_prefers_float32(const ConvShape& s) {
  constexpr int64_t kCached = int64_t{1} << 21;  // elements
  const int64_t elements = s.batch * s.out_size[0] * s.out_size[1] * s.out_channels;
  const int64_t taps = s.kernel[0] * s.kernel[1];
  return s.out_channels * taps < 24 || (s.in_channels * taps < 24 && elements < kCached);
}

std::vector<int32_t> grad_absmax(const Kernels& kernels, const ConvShape& s, const float* grad,
                                 const ParallelFor& parallel_for) {
  // Wide enough that a maximum is not read back while its store is still under way.
  constexpr int64_t kWidth = 512, kElements = 32768;
  const int64_t channels = s.out_channels;
  const int64_t repeats = std::max<int64_t>(1, kWidth / channels), width = repeats * channels;
  const int64_t positions = s.batch * s.out_size[0] * s.out_size[1];
  const int64_t rows = (positions + repeats - 1) / repeats;
  const int64_t rows_per_part = std::max<int64_t>(1, kElements / width);
  const int64_t parts = std::min<int64_t>(64, (rows + rows_per_part - 1) / rows_per_part);
  std::vector<int32_t> maxima(static_cast<size_t>(parts * width), 0);
  parallel_for(parts, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t from = rows * i / parts * width;
      const int64_t to = std::min(rows * (i + 1) / parts * width, positions * channels);
      kernels.absmax(grad + from, to - from, width, &maxima[static_cast<size_t>(i * width)]);
    }
  });
  std::vector<int32_t> result(static_cast<size_t>(channels), 0);
  for (size_t i = 0; i < maxima.size(); ++i) {
    int32_t& largest = result[i % static_cast<size_t>(channels)];
    largest = std::max(largest, maxima[i]);
  }
  return result;
}

Rounding rounding_for(float largest) {
  if (!(largest <= std::numeric_limits<float>::max())) {
    return {std::numeric_limits<float>::quiet_NaN(), 0.0f};
  }
  const float covered = std::max(largest, kSmallest);
  return {covered / kLargestCode, kLargestCode / covered};
}

void conv_backward_data(const ConvShape& shape, const float* grad, const int8_t* weight,
                        const std::array<int64_t, 4>& weight_strides, const float* weight_scale,
                        float* d_input, const ParallelFor& parallel_for) {
  conv_backward_data(chosen(), shape, grad, weight, weight_strides, weight_scale, d_input,
                     parallel_for);
}

void conv_backward_weight(const ConvShape& shape, const float* grad, const uint8_t* codes,
                          int32_t zero_point, float input_scale, float* d_weight,
                          const std::array<int64_t, 4>& weight_strides,
                          const ParallelFor& parallel_for, bool codes_are_signed) {
  conv_backward_weight(chosen(), shape, grad, codes, zero_point, input_scale, d_weight,
                       weight_strides, parallel_for, codes_are_signed);
}

}  // namespace qat::kernels::s16
