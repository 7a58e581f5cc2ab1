#include "kernels/cpu/conv_backward_f32.h"

#include <algorithm>

#include "kernels/cpu/conv_backward_f32_kernels.h"

namespace qat::kernels::f32 {
namespace {

std::vector<const Kernels*> find_kernels() {
  std::vector<const Kernels*> found;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    found.push_back(&avx512::conv_backward_f32);
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    found.push_back(&avx2::conv_backward_f32);
  }
#endif
  found.push_back(&generic::conv_backward_f32);
  return found;
}

}  // namespace

const std::vector<const Kernels*>& available_kernels() {
  static const std::vector<const Kernels*> found = find_kernels();
  return found;
}

bool is_supported(const ConvShape& s) {
  return s.batch > 0 && s.in_channels > 0 && s.out_channels > 0 &&
         std::min(s.kernel[0], s.kernel[1]) > 0 && std::min(s.in_size[0], s.in_size[1]) > 0 &&
         std::min(s.out_size[0], s.out_size[1]) > 0;
}

void conv_backward_data(const ConvShape& shape, const float* grad, const int8_t* weight,
                        const std::array<int64_t, 4>& weight_strides, const float* weight_scale,
                        float* d_input, const ParallelFor& parallel_for) {
  conv_backward_data(*available_kernels().front(), shape, grad, weight, weight_strides,
                     weight_scale, d_input, parallel_for);
}

void conv_backward_weight(const ConvShape& shape, const float* grad, const uint8_t* codes,
                          int32_t zero_point, float input_scale, float* d_weight,
                          const std::array<int64_t, 4>& weight_strides,
                          const ParallelFor& parallel_for, bool codes_are_signed) {
  conv_backward_weight(*available_kernels().front(), shape, grad, codes, zero_point, input_scale,
                       d_weight, weight_strides, parallel_for, codes_are_signed);
}

}  // namespace qat::kernels::f32
