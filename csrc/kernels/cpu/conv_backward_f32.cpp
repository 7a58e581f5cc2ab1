#include "kernels/cpu/conv_backward_f32.h"

#include <algorithm>

#include "kernels/cpu/conv_backward_f32_kernels.h"
#include "kernels/cpu/tables.h"

namespace qat::kernels::f32 {
std::vector<const Kernels*> available_kernels() {
  std::vector<const Kernels*> found;
  for (const KernelTable* table : available_tables()) found.push_back(table->conv_backward_f32);
  return found;
}

bool is_supported(const ConvShape& s) {
  // Offsets within a chunk, at most one image of kBlockRows channels, are 32 bits wide.
  constexpr int64_t kLargestImage = (int64_t{1} << 31) / kBlockRows;
  return s.batch > 0 && s.in_channels > 0 && s.out_channels > 0 &&
         std::min(s.kernel[0], s.kernel[1]) > 0 && std::min(s.in_size[0], s.in_size[1]) > 0 &&
         std::min(s.out_size[0], s.out_size[1]) > 0 &&
         (s.in_size[0] + 2 * s.padding[0]) * (s.in_size[1] + 2 * s.padding[1]) < kLargestImage;
}

void conv_backward_data(const ConvShape& shape, const float* grad, const int8_t* weight,
                        const std::array<int64_t, 4>& weight_strides, const float* weight_scale,
                        float* d_input, const ParallelFor& parallel_for) {
  conv_backward_data(*kernels().conv_backward_f32, shape, grad, weight, weight_strides,
                     weight_scale, d_input, parallel_for);
}

void conv_backward_weight(const ConvShape& shape, const float* grad, const uint8_t* codes,
                          int32_t zero_point, float input_scale, float* d_weight,
                          const std::array<int64_t, 4>& weight_strides,
                          const ParallelFor& parallel_for, bool codes_are_signed) {
  conv_backward_weight(*kernels().conv_backward_f32, shape, grad, codes, zero_point, input_scale,
                       d_weight, weight_strides, parallel_for, codes_are_signed);
}

}  // namespace qat::kernels::f32
