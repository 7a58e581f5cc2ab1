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
      const Site site{model_, node};
      const auto* aten = std::get_if<graph::AtenAttributes>(&node.attributes);
      aten_.push_back(aten ? make_aten(site, *aten, options.aten) : nullptr);
      operators_.push_back(aten ? nullptr : make_operator(site));
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
    if (aten_[i]) return run_aten(i, batch, values, macs);
    std::vector<View> inputs;
    for (const int64_t input : node.inputs) inputs.push_back(view_of(input, batch, values));
    const auto at = static_cast<size_t>(node.outputs[0]);
    View output = view_of(node.outputs[0], batch, values);
    values[at] = make_tensor(output.type, output.shape);
    output.data = values[at].bytes.data();
    Binding binding{{}, &output, batch};
    for (const View& input : inputs) binding.inputs.push_back(&input);
    operators_[i](binding)(threads_, macs);
  }

  View view_of(int64_t value, int64_t batch, std::vector<Tensor>& values) const {
    const auto at = static_cast<size_t>(value);
    View view = runtime::view_of(model_.graph.values[at], batch, Layout::row_major);
    view.data = values[at].bytes.data();
    return view;
  }

  void run_aten(size_t i, int64_t batch, std::vector<Tensor>& values, MacCount& macs) const {
    const graph::Node& node = model_.graph.nodes[i];
    Inputs inputs;
    for (const int64_t input : node.inputs) inputs.push_back(&values[static_cast<size_t>(input)]);
    std::vector<Tensor> outputs = aten_[i](inputs, batch, macs);
    for (size_t k = 0; k < outputs.size(); ++k) {
      const auto at = static_cast<size_t>(node.outputs[k]);
      check_output(node, model_.graph.values[at], outputs[k], batch);
      values[at] = std::move(outputs[k]);
    }
  }

  const graph::Model model_;
  const int threads_;
  std::vector<std::vector<int64_t>> dead_;
  std::vector<Binder> operators_;   // empty for aten nodes
  std::vector<AtenOperator> aten_;  // empty for the others
  mutable std::mutex mutex_;
  MacCount macs_;
};

}  // namespace

std::unique_ptr<Executor> make_reference_executor(const graph::Model& model, Options options) {
  return std::make_unique<ReferenceExecutor>(model, options);
}

}  // namespace qat::runtime
