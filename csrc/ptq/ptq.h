#pragma once
// Post-training quantization: steps that change the float model's own parameters and buffers so
// that its quantized form loses less. Everything after them (training, lowering, verifying) works
// as on any other model. The model is in eval(); every step but equalize() needs observed ranges.

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

#include "insert/prepared_model.h"
#include "ptq/options.h"

namespace qat::ptq {

// Calibration data, made one batch at a time.
struct Batches {
  int64_t count = 0;
  std::function<TensorList(int64_t index)> at;
};

// The float model that the quantized one is compared with: parameters and buffers by name, as they
// were before a step changed them. Names that are missing count as they are now.
using Reference = NamedTensors;
Reference remember(PreparedModel& prepared);

struct EqualizedPair {
  std::string first, second;
  double smallest = 1, largest = 1;  // factor that the channels between the two were divided by
};
// Cross-layer equalization (Nagel et al. 2019). Before ranges are observed: values change their
// sizes.
std::vector<EqualizedPair> equalize(PreparedModel& prepared);

struct ChannelShift {
  std::string site;
  double largest = 0;  // magnitude over the channels
};
// Running statistics of every batch norm, of the values that arrive in the quantized model.
std::vector<ChannelShift> reestimate_batch_norm(PreparedModel& prepared, const Batches& batches);

// Adds to biases what the mean of each layer's output lost by quantization (Nagel et al. 2019), one
// layer after the other.
std::vector<ChannelShift> correct_bias(PreparedModel& prepared, const Batches& batches,
                                       const Reference& reference = {});

struct Rounded {
  std::string site;
  double nearest_error = 0, error = 0;  // mean square of what the layer's output is off
  double changed = 0;                   // share of the weights not rounded to nearest
};
// Chooses for each weight whether it rounds up or down (AdaRound, Nagel et al. 2020), one layer
// after the other, and writes code * scale into the weights.
std::vector<Rounded> adaround(PreparedModel& prepared, const Batches& batches,
                              const AdaroundOptions& options = {}, const Reference& reference = {});

}  // namespace qat::ptq
