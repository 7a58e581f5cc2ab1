#include "kernels/cpu/depthwise_backward.h"

#include <algorithm>
#include <vector>

#include "kernels/cpu/depthwise_backward_rows.h"
#include "numerics/arith.h"

namespace qat::kernels::depthwise {
namespace {

// [block][tap][kBlock] of weight code times scale.
std::vector<float> dequantize_weight(const Shape& s, const Operands& x, int64_t blocks) {
  const int64_t taps = s.kernel[0] * s.kernel[1];
  std::vector<float> out(static_cast<size_t>(blocks * taps * kBlock), 0.0f);
  for (int64_t c = 0; c < s.channels; ++c) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      const int8_t code =
          x.weight[c * x.weight_strides[0] + tap / s.kernel[1] * x.weight_strides[1] +
                   tap % s.kernel[1] * x.weight_strides[2]];
      out[static_cast<size_t>((c / kBlock * taps + tap) * kBlock + c % kBlock)] =
          numerics::mul(static_cast<float>(code), x.weight_scale[c]);
    }
  }
  return out;
}

// Adds the images of a channel block in their order.
void reduce(const Shape& s, const Operands& x, const float* sums, int64_t block, int64_t blocks,
            float* d_weight) {
  const int64_t taps = s.kernel[0] * s.kernel[1];
  const int64_t first = block * kBlock, count = std::min(kBlock, s.channels - first);
  for (int64_t tap = 0; tap < taps; ++tap) {
    for (int64_t c = 0; c < count; ++c) {
      float sum = 0.0f;
      for (int64_t n = 0; n < s.batch; ++n) {
        sum = numerics::add(sum, sums[((n * blocks + block) * taps + tap) * kBlock + c]);
      }
      d_weight[(first + c) * x.weight_strides[0] + tap / s.kernel[1] * x.weight_strides[1] +
               tap % s.kernel[1] * x.weight_strides[2]] = numerics::mul(sum, x.input_scale);
    }
  }
}

}  // namespace

bool is_supported(const Shape& s) {
  const int64_t kernel = s.kernel[0], stride = s.stride[0];
  bool supported = s.batch > 0 && s.channels > 0 && (kernel == 3 || kernel == 5) &&
                   (stride == 1 || stride == 2) && s.kernel[1] == kernel && s.stride[1] == stride;
  for (size_t d = 0; d < 2; ++d) {
    supported &= s.padding[d] >= 0 && s.padding[d] < kernel && s.in_size[d] > 0;
    supported &= s.out_size[d] == (s.in_size[d] + 2 * s.padding[d] - kernel) / stride + 1;
    supported &= s.in_size[d] + 2 * s.padding[d] >= kernel;
  }
  return supported;
}

void backward(const Shape& s, const Operands& x, float* d_input, float* d_weight,
              const ParallelFor& parallel_for) {
  backward(kernels(), s, x, d_input, d_weight, parallel_for);
}

void backward(const KernelTable& table, const Shape& s, const Operands& x, float* d_input,
              float* d_weight, const ParallelFor& parallel_for) {
  const int64_t blocks = (s.channels + kBlock - 1) / kBlock, taps = s.kernel[0] * s.kernel[1];
  const auto weight = dequantize_weight(s, x, blocks);
  std::vector<float> sums(static_cast<size_t>(s.batch * blocks * taps * kBlock), 0.0f);
  const ByteCodes codes = as_unsigned(x.codes, x.zero_point, x.codes_are_signed);
  parallel_for(s.batch * blocks, [&](int64_t begin, int64_t end) {
    std::vector<float> grad_ring(static_cast<size_t>((kRingRows + 1) * grad_columns(s) * kBlock),
                                 0.0f);
    std::vector<float> input_ring(static_cast<size_t>(kRingRows * input_columns(s) * kBlock), 0.0f);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / blocks, first = i % blocks * kBlock;
      Image image;
      image.shape = &s;
      image.grad = x.grad + n * s.out_size[0] * s.out_size[1] * s.channels + first;
      image.codes = codes.data + n * s.in_size[0] * s.in_size[1] * s.channels + first;
      image.flip = codes.flip;
      image.zero_point = codes.zero_point;
      image.count = std::min(kBlock, s.channels - first);
      image.weight = weight.data() + i % blocks * taps * kBlock;
      image.d_input = d_input + n * s.in_size[0] * s.in_size[1] * s.channels + first;
      image.sums = sums.data() + i * taps * kBlock;
      image.grad_ring = grad_ring.data();
      image.input_ring = input_ring.data();
      table.depthwise_image(image);
    }
  });
  parallel_for(blocks, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) reduce(s, x, sums.data(), i, blocks, d_weight);
  });
}

}  // namespace qat::kernels::depthwise
