#pragma once
// The graph under construction: for each recorded value its real and its integer form.

#include <string>
#include <unordered_map>
#include <vector>

#include "graph/model.h"
#include "insert/engine.h"

namespace qat::lower {

constexpr int64_t kAbsent = -1;

class Builder {
 public:
  explicit Builder(Engine& engine);

  const capture::Trace& trace() const { return engine_.trace; }
  const insert::Plan& plan() const { return engine_.plan; }

  // ---- values that exist already, or are derived on demand
  int64_t as_real(int64_t value);
  int64_t as_codes(int64_t value, int quantizer);
  // `value` as codes of its own quantizer, or of the edge into operand `k` of node `index`.
  int64_t codes_operand(int64_t index, size_t operand);
  bool has_codes(int64_t value) const { return codes_[value] != kAbsent; }
  // Codes of a quantizer with the parameters of the checkpoint (scale and zero point).
  insert::Codes target(int quantizer) const;

  const graph::Value& value(int64_t id) const { return model_.graph.values[id]; }

  // ---- making values
  int64_t new_real(int64_t value, const std::string& name);
  int64_t new_codes(int64_t value, int quantizer, const std::string& name);
  int64_t new_intermediate(const std::string& name, graph::Value like);
  // The node's result: quantized right away where the plan says so.
  void set_real(int64_t value, int64_t id);
  void set_codes(int64_t value, int64_t id) { codes_[value] = id; }
  void forget_real(int64_t value) { reals_[value] = kAbsent; }
  void alias(int64_t value, int64_t of);
  void add(const std::string& name, graph::Attributes attributes, std::vector<int64_t> inputs,
           std::vector<int64_t> outputs);
  std::string add_tensor(const std::string& name, const at::Tensor& tensor);

  // ---- values that depend on parameters alone
  bool is_constant(int64_t value) const;
  at::Tensor evaluate(int64_t value);

  // A deferred layer: made when somebody reads its unfolded result.
  struct Layer {
    int64_t node;  // of the trace
    at::Tensor weight_codes, multiplier, bias;
    numerics::IntFormat weight_format;
    int64_t input;  // graph value
  };
  std::unordered_map<int64_t, Layer> layers;  // by trace value
  void emit_layer(const Layer& layer, const at::Tensor& multiplier, const at::Tensor& bias,
                  const std::string& name, int64_t output);

  graph::Model finish();

 private:
  graph::Value& graph_value(int64_t id) { return model_.graph.values[id]; }
  int64_t push(graph::Value value);
  int64_t constant(int64_t value);

  Engine& engine_;
  graph::Model model_;
  std::vector<int64_t> reals_, codes_;
  std::unordered_map<uint64_t, int64_t> edges_;  // (value, quantizer) -> codes
  std::unordered_map<int64_t, at::Tensor> evaluated_;
  std::unordered_map<std::string, at::Tensor> parameters_;
  std::unordered_map<std::string, int64_t> node_names_;
};

}  // namespace qat::lower
