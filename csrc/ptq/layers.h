#pragma once
// The layers of a prepared model that post-training steps may change.

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "capture/channels.h"
#include "insert/engine.h"
#include "numerics/activation.h"

namespace qat::ptq {

// Tensors are the model's own; undefined: absent.
struct BatchNorm {
  at::Tensor gamma, beta, mean, variance;
  double eps = 0;
  at::Tensor gain() const;  // float64[C]
};

// A convolution or linear layer whose parameters nothing else reads.
struct Layer {
  int64_t node = 0;
  std::string site;
  bool integer = false;
  at::Tensor weight, bias;
  WeightShape shape;
  std::optional<insert::ConvGeometry> geometry;    // absent: linear
  std::optional<BatchNorm> batch_norm;             // right behind it
  std::optional<numerics::Activation> activation;  // right behind that
  int64_t input = 0;                               // value that it reads
  int64_t result = 0;                              // value behind batch norm
  int64_t activated = 0;                           // value behind the activation
  int64_t output_axis() const { return geometry ? 1 : -1; }
  int64_t groups() const { return geometry ? geometry->groups : 1; }
  bool transposed() const { return geometry && geometry->transposed; }
};

// Who reads what, and the layers in the order of the forward.
class Layers {
 public:
  explicit Layers(Engine& engine);

  const std::vector<Layer>& all() const { return all_; }
  // The layer whose operator is this node, or nullptr.
  const Layer* at_node(int64_t node) const;
  const capture::Readers& readers() const { return readers_; }
  const std::string& site_of(int64_t value) const;

 private:
  std::optional<Layer> layer(int64_t node) const;
  bool add_batch_norm(Layer& layer) const;
  void add_activation(Layer& layer) const;
  bool own(const capture::TraceNode& node, const char* argument, at::Tensor& to) const;
  bool own(const capture::TraceNode& node, size_t argument, at::Tensor& to) const;
  bool own_transposed(const capture::TraceNode& node, size_t argument, at::Tensor& to) const;
  bool own_linear(const capture::TraceNode& node, Layer& layer) const;

  const capture::Trace& trace_;
  const insert::Plan& plan_;
  std::unordered_map<std::string, at::Tensor> tensors_;
  capture::Readers readers_;
  std::vector<Layer> all_;
  std::unordered_map<int64_t, size_t> of_node_;
};

// One value per output channel spread over a tensor shaped like the weight.
at::Tensor spread_outputs(const Layer& layer, const at::Tensor& values);
// The same for input channels; float64[C] of the largest magnitudes.
at::Tensor spread_inputs(const Layer& layer, const at::Tensor& values);
at::Tensor input_absmax(const Layer& layer, const at::Tensor& weight);

}  // namespace qat::ptq
