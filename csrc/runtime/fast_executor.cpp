#include "runtime/fast_executor.h"

#include <mutex>

#include "runtime/parallel.h"
#include "runtime/plan.h"
#include "runtime/session.h"

namespace qat::runtime {
namespace {

class FastExecutor final : public Executor {
 public:
  FastExecutor(const graph::Model& model, const Options& options, kernels::u8s8::InstructionSet set)
      : model_(model), threads_(resolve_threads(options.threads)) {
    check_structure(model_.graph);
    plan_ = make_plan(model_, options.aten, threads_, set);
  }

  std::vector<Tensor> run(const std::vector<Tensor>& inputs) override {
    std::vector<Tensor> slots = evaluate(inputs, /*keep=*/false);
    std::vector<Tensor> outputs;
    for (const int64_t output : model_.graph.outputs) {
      outputs.push_back(slots[slot(output, Layout::row_major)]);
    }
    return outputs;
  }

  std::vector<Tensor> run_all(const std::vector<Tensor>& inputs) override {
    std::vector<Tensor> slots = evaluate(inputs, /*keep=*/true);
    std::vector<Tensor> values(model_.graph.values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      const auto value = static_cast<int64_t>(i);
      Tensor& row_major = slots[slot(value, Layout::row_major)];
      Tensor& channels_last = slots[slot(value, Layout::channels_last)];
      if (channels_last.shape.empty()) {
        values[i] = std::move(row_major);
      } else {
        values[i] = change_layout(channels_last, Layout::row_major, threads_);
      }
    }
    return values;
  }

  MacCount macs() const override {
    const std::lock_guard lock(mutex_);
    return macs_;
  }

 private:
  std::vector<Tensor> evaluate(const std::vector<Tensor>& inputs, bool keep) {
    const graph::Graph& graph = model_.graph;
    const int64_t batch = check_inputs(graph, inputs);
    std::vector<Tensor> slots(graph.values.size() * 2);
    for (size_t i = 0; i < inputs.size(); ++i) {
      const int64_t value = graph.inputs[i];
      slots[slot(value, Layout::row_major)] =
          bind_input(graph.values[static_cast<size_t>(value)], inputs[i], threads_);
    }
    MacCount macs;
    for (const Step& step : plan_.steps) {
      run_step(step, batch, slots, macs);
      if (keep) continue;
      for (const size_t dead : step.dead) slots[dead] = {};
    }
    const std::lock_guard lock(mutex_);
    macs_ = macs;
    return slots;
  }

  void run_step(const Step& step, int64_t batch, std::vector<Tensor>& slots, MacCount& macs) const {
    Inputs inputs;
    for (const size_t input : step.inputs) inputs.push_back(&slots[input]);
    std::vector<Tensor> outputs = step.run(inputs, batch, macs);
    for (size_t k = 0; k < outputs.size(); ++k) {
      const size_t at = step.outputs[k];
      const graph::Value& value = model_.graph.values[static_cast<size_t>(value_of(at))];
      if (step.node != nullptr) {
        check_output(*step.node, value, outputs[k], batch, layout_of(at));
      }
      slots[at] = std::move(outputs[k]);
    }
  }

  const graph::Model model_;
  const int threads_;
  Plan plan_;
  mutable std::mutex mutex_;
  MacCount macs_;
};

}  // namespace

std::unique_ptr<Executor> make_fast_executor(const graph::Model& model, Options options,
                                             kernels::u8s8::InstructionSet set) {
  return std::make_unique<FastExecutor>(model, options, set);
}

std::unique_ptr<Executor> make_fast_executor(const graph::Model& model, Options options) {
  return make_fast_executor(model, std::move(options), kernels::u8s8::best_instruction_set());
}

}  // namespace qat::runtime
