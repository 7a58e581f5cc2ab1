// Counting the logits, and the numbers in the file, in which two forms of a model differ.

#include <cstring>

#include "checkpoint/checkpoint.h"
#include "error.h"
#include "graph/json.h"
#include "insert/engine.h"
#include "insert/quantized_tensor.h"
#include "lower/aten_node.h"
#include "lower/integer_model.h"
#include "lower/lower.h"
#include "lower/tensors.h"

namespace qat {
namespace {

// eval() and the qat phase for as long as it lives.
class EvalGuard {
 public:
  explicit EvalGuard(PreparedModel& prepared)
      : prepared_(prepared), training_(prepared.access().is_training()), phase_(prepared.phase()) {
    prepared.access().train(false);
    prepared.set_phase(Phase::qat);
  }
  ~EvalGuard() {
    prepared_.set_phase(phase_);
    prepared_.access().train(training_);
  }

 private:
  PreparedModel& prepared_;
  bool training_;
  Phase phase_;
};

// Elements of `expected` that are not the same bits in every one of `others`.
int64_t count_differing(const at::Tensor& expected, const std::vector<at::Tensor>& others) {
  const at::Tensor reference = expected.contiguous();
  std::vector<at::Tensor> dense;
  for (const at::Tensor& other : others) {
    if (other.sizes() != reference.sizes() || other.scalar_type() != reference.scalar_type()) {
      return reference.numel();
    }
    dense.push_back(other.contiguous());
  }
  const size_t size = reference.element_size();
  const auto* bytes = static_cast<const char*>(reference.const_data_ptr());
  int64_t differing = 0;
  for (int64_t i = 0; i < reference.numel(); ++i) {
    bool same = true;
    for (const at::Tensor& other : dense) {
      const auto* there = static_cast<const char*>(other.const_data_ptr());
      same = same && std::memcmp(bytes + i * size, there + i * size, size) == 0;
    }
    differing += same ? 0 : 1;
  }
  return differing;
}

bool same_tensor(const graph::Tensor& a, const graph::Tensor& b) {
  return a.type == b.type && a.shape == b.shape && a.bytes == b.bytes;
}

// The graph's JSON without the names that a door gives to inputs and outputs.
std::string structure(graph::Model model) {
  model.graph.output_names.clear();
  for (size_t i = 0; i < model.graph.inputs.size(); ++i) {
    model.graph.values[model.graph.inputs[i]].name = "input" + std::to_string(i);
  }
  return graph::encode(model, "verify").json;
}

// Lowers once more and compares every number of the file.
void compare_parameters(const graph::Model& expected, const graph::Model& given,
                        VerifyReport& report) {
  const auto differs = [&report](const std::string& what) {
    ++report.differing_parameters;
    if (report.first_difference.empty()) report.first_difference = what;
  };
  for (const auto& [name, tensor] : expected.tensors) {
    const auto other = given.tensors.find(name);
    if (other == given.tensors.end() || !same_tensor(tensor, other->second)) {
      differs("tensor '" + name + "'");
    }
  }
  for (const auto& [name, tensor] : given.tensors) {
    if (expected.tensors.count(name) == 0) differs("tensor '" + name + "'");
  }
  const auto& values = expected.graph.values;
  for (size_t i = 0; i < values.size() && i < given.graph.values.size(); ++i) {
    if (values[i].qparams == given.graph.values[i].qparams) continue;
    differs("scale or zero point of '" + values[i].name + "'");
  }
  if (structure(expected) != structure(given)) differs("the graph");
}

// The first site whose codes differ between the prepared model and the reference executor.
std::string first_differing_site(PreparedModel& prepared, const graph::Model& model,
                                 const TensorList& batch) {
  std::vector<std::pair<std::string, at::Tensor>> codes;
  prepared.engine().probe = [&codes](const std::string& site, const insert::Codes& made) {
    codes.emplace_back(site, made.codes.contiguous().clone());
  };
  prepared.forward(batch);
  prepared.engine().probe = nullptr;
  runtime::Options options;
  options.aten = lower::aten_evaluator();
  std::vector<graph::Tensor> inputs;
  for (const at::Tensor& tensor : batch) inputs.push_back(lower::to_graph(tensor, "input"));
  const auto all = runtime::make_reference_executor(model, options)->run_all(inputs);
  for (const auto& [site, expected] : codes) {
    for (size_t i = 0; i < all.size(); ++i) {
      if (model.graph.values[i].name != site || all[i].bytes.empty()) continue;
      const bool same =
          all[i].bytes.size() == expected.nbytes() &&
          std::memcmp(all[i].bytes.data(), expected.const_data_ptr(), expected.nbytes()) == 0;
      if (!same) return "codes of '" + site + "'";
    }
  }
  return "the logits (all codes agree)";
}

}  // namespace

VerifyReport verify(PreparedModel& prepared, const IntegerModel& integer,
                    const std::vector<TensorList>& batches) {
  if (batches.empty()) throw Error("verify: no inputs were given; pass at least one batch.");
  at::NoGradGuard no_grad;
  EvalGuard guard(prepared);
  VerifyReport report;
  compare_parameters(lower::lower(prepared.engine()), integer.model(), report);
  const IntegerModel reloaded(
      checkpoint::parse(checkpoint::serialize(integer.model()), "the reloaded model"));
  for (const TensorList& batch : batches) {
    const TensorList expected = prepared.forward(batch);
    const TensorList reference = integer.forward(batch, ExecutorKind::reference);
    const TensorList fast = integer.forward(batch, ExecutorKind::fast);
    const TensorList again = reloaded.forward(batch);
    int64_t differing = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      report.logits += expected[i].numel();
      differing += count_differing(expected[i], {reference.at(i), fast.at(i), again.at(i)});
    }
    if (differing > 0 && report.differing == 0 && report.first_difference.empty()) {
      report.first_difference = first_differing_site(prepared, integer.model(), batch);
    }
    report.differing += differing;
  }
  return report;
}

}  // namespace qat
