#include "kernels/cpu/capability.h"
#include "kernels/cpu/conv_backward_f32_kernels.h"

#define QAT_STRING_OF(x) #x
#define QAT_STRING(x) QAT_STRING_OF(x)

namespace qat::kernels::QAT_CPU_CAPABILITY {

const KernelTable table = {
    .name = QAT_STRING(QAT_CPU_CAPABILITY),
    .quantize = quantize,
    .dequantize = dequantize,
    .fake_quantize = fake_quantize,
    .fake_quantize_backward = fake_quantize_backward,
    .fake_quantize_with_mask = fake_quantize_with_mask,
    .quantize_with_mask = quantize_with_mask,
    .straight_through = straight_through,
    .fake_quantize_learned_backward = fake_quantize_learned_backward,
    .range = range,
    .range_per_channel = range_per_channel,
    .absmax = absmax,
    .chain_quantize = chain_quantize,
    .chain_float = chain_float,
    .chain_half = chain_half,
    .chain_statistics = chain_statistics,
    .chain_backward_sums = chain_backward_sums,
    .chain_backward_apply = chain_backward_apply,
    .conv_backward_f32 = &conv_backward_f32,
    .depthwise_image = depthwise_image,
};

}  // namespace qat::kernels::QAT_CPU_CAPABILITY
