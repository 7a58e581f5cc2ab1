#pragma once
// What each instruction set's copy of the kernels defines. QAT_CPU_CAPABILITY is set by the build.

#include "kernels/cpu/kernels.h"

namespace qat::kernels::QAT_CPU_CAPABILITY {

void quantize(const Quantizer&, const float* x, uint8_t* codes, int64_t n);
void dequantize(const Quantizer&, const uint8_t* codes, bool is_signed, float* x, int64_t n);
void fake_quantize(const Quantizer&, const float* x, float* out, int64_t n);
void fake_quantize_backward(const Quantizer&, const float* grad, const float* x, float* out,
                            int64_t n);
void fake_quantize_with_mask(const Quantizer&, const float* x, float* out, int64_t n,
                             const MaskBits&);
RangeKeys quantize_with_mask(const Quantizer&, const float* x, uint8_t* codes, int64_t n,
                             const MaskBits&);
void straight_through(const float* grad, const uint8_t* mask, float* out, int64_t n, bool streams);
void fake_quantize_learned_backward(const Quantizer&, const float* grad, const float* x, float* out,
                                    int64_t n, const LearnedSums&);
void range(const float* x, int64_t n, RangeKeys* keys);
void range_per_channel(const float* x, int64_t n, int64_t width, int32_t* minimum,
                       int32_t* maximum);
float absmax(const float* x, int64_t n);
void chain_quantize(const Chain&, int64_t begin, int64_t end, uint8_t* codes, RangeKeys* keys);
void chain_float(const Chain&, int64_t begin, int64_t end, float* out);
bool chain_half(const Chain&, int64_t begin, int64_t end, uint16_t* out);
void chain_statistics(const Chain&, const float* shift, int64_t begin, int64_t end, double* sum,
                      double* sum_of_squares);
void chain_backward_sums(const ChainBackward&, int64_t begin, int64_t end, const ChainSums&);
void chain_backward_apply(const ChainBackward&, int64_t begin, int64_t end, float* d_value,
                          float* d_residual);
void depthwise_image(const depthwise::Image&);

extern const KernelTable table;

}  // namespace qat::kernels::QAT_CPU_CAPABILITY
