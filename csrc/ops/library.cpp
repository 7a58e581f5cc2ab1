// Every operator of the library: the one place where schemas are written.
//
// Codes travel as uint8 (unsigned formats) or int8 (signed formats). scale is float32[1] or
// float32[C], zero_point int32 of the same shape. Backward passes are operators of their own.

#include <torch/library.h>

TORCH_LIBRARY(qat_ext, m) {
  const auto tags = std::vector<at::Tag>{at::Tag::pt2_compliant_tag};

  // real -> code -> real with a straight-through gradient (rules 2-4). axis -1: per tensor.
  m.def(
      "fake_quantize(Tensor x, Tensor scale, Tensor zero_point, *, int axis, int quant_min, "
      "int quant_max) -> Tensor",
      tags);
  m.def(
      "fake_quantize_backward(Tensor grad, Tensor x, Tensor scale, Tensor zero_point, *, "
      "int axis, int quant_min, int quant_max) -> Tensor",
      tags);

  // fake_quantize and quantize with the mask of rule 4, for a backward that does without x: uint8,
  // of element k of the result's memory bit k % 8 of byte k / 8. The range: float32[2], the
  // smallest and the largest finite x, [0, 0] without any.
  m.def(
      "fake_quantize_with_mask(Tensor x, Tensor scale, Tensor zero_point, *, int axis, "
      "int quant_min, int quant_max) -> (Tensor, Tensor)",
      tags);
  m.def(
      "quantize_with_mask(Tensor x, Tensor scale, Tensor zero_point, *, int axis, int quant_min, "
      "int quant_max) -> (Tensor codes, Tensor mask, Tensor range)",
      tags);
  // grad where its bit is set, else 0. stride: of the result that came with the mask; dense.
  m.def("straight_through(Tensor grad, Tensor mask, *, SymInt[] stride) -> Tensor", tags);

  // The same with a zero point in float32 that is learned as the scale is (rule 13): rounded and
  // clamped to a code, then rules 2 and 3. The gradients of scale and zero_point, shaped like them,
  // are multiplied by grad_scale; clipped_only: that of scale counts clipped values alone (PACT).
  m.def(
      "fake_quantize_learned(Tensor x, Tensor scale, Tensor zero_point, *, int axis, "
      "int quant_min, int quant_max, float grad_scale, bool clipped_only=False) -> Tensor",
      tags);
  m.def(
      "fake_quantize_learned_backward(Tensor grad, Tensor x, Tensor scale, Tensor zero_point, *, "
      "int axis, int quant_min, int quant_max, float grad_scale, bool clipped_only=False) "
      "-> (Tensor, Tensor, Tensor)",
      tags);

  // Rules 2 and 3 on their own.
  m.def(
      "quantize(Tensor x, Tensor scale, Tensor zero_point, *, int axis, int quant_min, "
      "int quant_max) -> Tensor",
      tags);
  m.def("dequantize(Tensor codes, Tensor scale, Tensor zero_point, *, int axis) -> Tensor", tags);

  // Running range of a tensor (axis -1) or of each channel. min, max: float32[1] or [C]; count:
  // int64[1]. The first batch sets the range; later ones move it by `momentum` (1: running
  // extreme). Only finite values count; a batch without any changes nothing.
  m.def(
      "observe_minmax_(Tensor x, Tensor(a!) min, Tensor(b!) max, Tensor(c!) count, *, "
      "int axis, float momentum) -> ()",
      tags);
  // Adds x to a histogram (numerics/histogram.h). counts: int64[2048], bins of 2^exponent on both
  // sides of 0; exponent: int64[1], -50 to 118, grows as needed; extremes: float32[2], smallest and
  // largest finite value, [inf, -inf] before the first one; tally: int64[2], zeros and values that
  // are not finite, which are in no bin.
  m.def(
      "observe_histogram_(Tensor x, Tensor(a!) counts, Tensor(b!) exponent, Tensor(c!) extremes, "
      "Tensor(d!) tally) -> ()",
      tags);
  // Rule 5: (scale float32, zero_point int32) of a range, elementwise.
  m.def(
      "choose_qparams(Tensor min, Tensor max, *, int bits, bool is_signed, bool narrow, "
      "bool symmetric, bool power_of_two) -> (Tensor, Tensor)",
      tags);
  // Codes int8 and scales of a weight. axis -1: one scale; 0: one per output channel; 1 (transposed
  // convolution): one per group and column, in that order.
  m.def(
      "quantize_weight(Tensor weight, *, int axis, int groups, int bits, bool narrow, "
      "bool power_of_two) -> (Tensor, Tensor)",
      tags);

  // The same for each of a list of weights, with one entry of every option for each: all codes, all
  // scales.
  m.def(
      "quantize_weights(Tensor[] weights, *, int[] axis, int[] groups, int[] bits, bool[] narrow, "
      "bool[] power_of_two) -> (Tensor[], Tensor[])",
      tags);

  // table[code - quant_min], table of 2^bits entries (rule 11).
  m.def("lookup(Tensor codes, Tensor table, *, int quant_min) -> Tensor", tags);

  // Sums of code - zero_point over the positions of each channel (rule 10), exact: codes
  // [N, C, positions...] -> int64 [N, C].
  m.def("sum_codes(Tensor codes, int zero_point) -> Tensor", tags);

  // Exact integer accumulators (rule 6) as float32 = float(acc). codes [N, C, spatial...] with 1 to
  // 3 spatial axes, or unbatched; weight int8. The result of a 4-d call is channels-last in memory.
  m.def(
      "conv_int(Tensor codes, int zero_point, Tensor weight, *, int[] stride, int[] padding, "
      "int[] dilation, int[] output_padding, int groups, bool transposed) -> Tensor",
      tags);
  // codes [..., C], weight int8 [K, C] -> float32 [..., K].
  m.def("linear_int(Tensor codes, int zero_point, Tensor weight) -> Tensor", tags);

  // Gradients of v = conv_int(...) * (scale * weight_scale[k]): (d_input, d_weight), float32, with
  // empty tensors for what is not wanted. grad: of v. codes [N, C, spatial...]; scale float32[1],
  // zero_point int32[1]; weight_scale float32[K]. products: float32; int16, with a rounded gradient
  // where kernels for the shape exist (Note [16-bit gradients]); bfloat16 (Note [bfloat16
  // gradients]).
  m.def(
      "conv_int_backward(Tensor grad, Tensor codes, Tensor scale, Tensor zero_point, "
      "Tensor weight, Tensor weight_scale, *, int[] stride, int[] padding, int[] dilation, "
      "int[] output_padding, int groups, bool transposed, str products, bool input_grad, "
      "bool weight_grad) -> (Tensor, Tensor)",
      tags);

  // The operators below see a tensor as rows of C channels; `axis` is the channel axis (1, or the
  // last one). multiplier, bias and the other per-channel tensors are float32[C].

  // float(acc) * multiplier[c] + bias[c] -> codes (rules 7 and 2).
  m.def(
      "requantize(Tensor acc, Tensor multiplier, Tensor? bias, Tensor scale, Tensor zero_point, "
      "*, int axis, int quant_min, int quant_max) -> Tensor",
      tags);
  // Mean and biased variance per channel of v = acc * multiplier[c] + bias[c].
  m.def(
      "batch_statistics(Tensor acc, Tensor? multiplier, Tensor? bias, *, int axis) "
      "-> (Tensor, Tensor)",
      tags);
  // Rule 9: (multiplier, bias) of the folded layer.
  m.def(
      "fold_batch_norm(Tensor? multiplier, Tensor? bias, Tensor? gamma, Tensor? beta, "
      "Tensor mean, Tensor variance, *, float eps) -> (Tensor, Tensor)",
      tags);

  // float16 of acc * multiplier[c] + bias[c], and bool[1]: whether float16 has numbers for all of
  // them (magnitudes up to 65504, no NaN).
  m.def(
      "affine_half(Tensor acc, Tensor? multiplier, Tensor? bias, *, int axis) -> (Tensor, Tensor)",
      tags);

  // A chain's end up to the activation: act(acc * multiplier[c] + bias[c] + residual) as float32.
  // No multiplier: acc as it is. residual: float32, or codes with residual_scale and
  // residual_zero_point. activation, p0, p1: numerics::ActivationKind and its parameters; slope:
  // float32[C], PReLU.
  m.def(
      "bn_act(Tensor acc, Tensor? multiplier, Tensor? bias, Tensor? residual, "
      "Tensor? residual_scale, Tensor? residual_zero_point, Tensor? slope, *, int axis, "
      "int activation, float p0, float p1) -> Tensor",
      tags);
  // The same, quantized (rule 2), in one pass: (codes, range float32[2] = smallest and largest
  // finite value before quantizing, or [0, 0] when observe is false or no value is finite).
  m.def(
      "bn_act_quantize(Tensor acc, Tensor? multiplier, Tensor? bias, Tensor? residual, "
      "Tensor? residual_scale, Tensor? residual_zero_point, Tensor? slope, Tensor scale, "
      "Tensor zero_point, *, int axis, int activation, float p0, float p1, int quant_min, "
      "int quant_max, bool observe) -> (Tensor, Tensor)",
      tags);
  // Gradient of either (scale None: bn_act). The forward value and its masks are recomputed from
  // acc, which may be float16 here. With dy = grad * straight-through mask * activation slope:
  //   x_hat = acc * xhat_multiplier[c] + xhat_bias[c]   (batch norm's normalised input; None: none)
  //   d_value = gain[c] * (dy - batch_norm_mean(dy) - x_hat * batch_norm_mean(dy * x_hat))
  // where the two means over the rows are left out unless through_statistics; gain None: 1.
  // Returns (d_value float32, like acc; d_residual = dy or an empty tensor; sum of dy float32[C];
  // sum of dy * x_hat float32[C]; sum over rows of grad * mask * v where v < 0, the
  // slope's gradient, or empty without a slope; where the scale and the zero point are learned
  // (rule 13; learned), their gradients in float32, shaped like scale, else two empty tensors).
  // clipped_only as above.
  m.def(
      "bn_act_quantize_backward(Tensor grad, Tensor acc, Tensor? multiplier, Tensor? bias, "
      "Tensor? residual, Tensor? residual_scale, Tensor? residual_zero_point, Tensor? slope, "
      "Tensor? scale, Tensor? zero_point, Tensor? xhat_multiplier, Tensor? xhat_bias, "
      "Tensor? gain, *, int axis, int activation, float p0, float p1, int quant_min, "
      "int quant_max, bool through_statistics, bool residual_grad, bool learned=False, "
      "bool clipped_only=False) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
      tags);
}
