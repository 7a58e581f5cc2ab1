// One node after the other, each by the function of its operator.

#include <mutex>

#include "runtime/operators.h"
#include "runtime/parallel.h"
#include "runtime/session.h"

namespace qat::runtime {
namespace {

class ReferenceExecutor final : public Executor {
 public:
  ReferenceExecutor(const graph::Model& model, const Options& options)
      : model_(model), threads_(options.threads) {
    check_structure(model_.graph);
    dead_ = dead_after(model_.graph);
    for (const graph::Node& node : model_.graph.nodes) {
      operators_.push_back(make_operator({model_, node, threads_}, options.aten));
    }
  }

  std::vector<Tensor> run(const std::vector<Tensor>& inputs) override {
    std::vector<Tensor> values = evaluate(inputs, /*keep=*/false);
    std::vector<Tensor> outputs;
    for (const int64_t output : model_.graph.outputs) {
      outputs.push_back(values[static_cast<size_t>(output)]);
    }
    return outputs;
  }

  std::vector<Tensor> run_all(const std::vector<Tensor>& inputs) override {
    return evaluate(inputs, /*keep=*/true);
  }

  MacCount macs() const override {
    const std::lock_guard lock(mutex_);
    return macs_;
  }

 private:
  std::vector<Tensor> evaluate(const std::vector<Tensor>& inputs, bool keep) {
    const graph::Graph& graph = model_.graph;
    const int64_t batch = check_inputs(graph, inputs);
    std::vector<Tensor> values(graph.values.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      const auto at = static_cast<size_t>(graph.inputs[i]);
      values[at] = bind_input(graph.values[at], inputs[i], threads_);
    }
    MacCount macs;
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      run_node(i, batch, values, macs);
      if (keep) continue;
      for (const int64_t value : dead_[i]) values[static_cast<size_t>(value)] = {};
    }
    const std::lock_guard lock(mutex_);
    macs_ = macs;
    return values;
  }

  void run_node(size_t i, int64_t batch, std::vector<Tensor>& values, MacCount& macs) const {
    const graph::Node& node = model_.graph.nodes[i];
    Inputs inputs;
    for (const int64_t input : node.inputs) inputs.push_back(&values[static_cast<size_t>(input)]);
    std::vector<Tensor> outputs = operators_[i](inputs, batch, macs);
    for (size_t k = 0; k < outputs.size(); ++k) {
      const auto at = static_cast<size_t>(node.outputs[k]);
      check_output(node, model_.graph.values[at], outputs[k], batch);
      values[at] = std::move(outputs[k]);
    }
  }

  const graph::Model model_;
  const int threads_;
  std::vector<std::vector<int64_t>> dead_;
  std::vector<Operator> operators_;
  mutable std::mutex mutex_;
  MacCount macs_;
};

}  // namespace

std::unique_ptr<Executor> make_reference_executor(const graph::Model& model, Options options) {
  return std::make_unique<ReferenceExecutor>(model, options);
}

}  // namespace qat::runtime
