#include "capture/trace.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>

#include "capture/recorder.h"
#include "error.h"

namespace qat::capture {
namespace {

// The batch sizes of the recordings. Two determine a line, the third checks it.
constexpr int64_t kBatches[] = {2, 3, 5};

std::string site(const TraceNode& node) { return node.name + " (" + node.stem + ")"; }

[[noreturn]] void not_linear_in_batch(const TraceNode& node, const std::string& what) {
  throw Error("prepare: " + site(node) + ": " + what +
              " does not grow linearly with the batch, so the integer model could not serve other "
              "batch sizes; derive it from the input's shape, or keep it constant.");
}

// Fits c + a*B through the values at kBatches[0] and [1] and checks kBatches[2].
bool fit(graph::Affine& value, int64_t second, int64_t third) {
  const int64_t step = kBatches[1] - kBatches[0];
  const int64_t difference = second - value.constant;
  if (difference % step != 0) return false;
  const int64_t per_batch = difference / step;
  const graph::Affine fitted{per_batch, value.constant - per_batch * kBatches[0]};
  if (fitted.at(kBatches[2]) != third) return false;
  value = fitted;
  return true;
}

bool fit_all(std::vector<graph::Affine>& values, const std::vector<graph::Affine>& second,
             const std::vector<graph::Affine>& third) {
  if (values.size() != second.size() || values.size() != third.size()) return false;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!fit(values[i], second[i].constant, third[i].constant)) return false;
  }
  return true;
}

bool same_plain(const c10::IValue& a, const c10::IValue& b) {
  if (a.tagKind() != b.tagKind()) return false;
  if (a.isInt() || a.isIntList() || a.isGenerator()) return true;  // integers: fit_all
  return a == b;
}

void merge_argument(const TraceNode& node, TraceArgument& a, const TraceArgument& b,
                    const TraceArgument& c) {
  const std::string changes = "an operand changes with the batch size";
  if (a.type != b.type || a.type != c.type || a.values != b.values || a.values != c.values) {
    throw Error("prepare: " + site(node) + ": " + changes + ".");
  }
  if (a.type != TraceArgument::Type::plain) return;
  if (!same_plain(a.plain, b.plain) || !same_plain(a.plain, c.plain)) {
    not_linear_in_batch(node, "an argument");
  }
  if (!fit_all(a.affine, b.affine, c.affine)) not_linear_in_batch(node, "an integer argument");
}

void merge_value(const Trace& trace, TraceValue& a, const TraceValue& b, const TraceValue& c) {
  if (fit_all(a.shape, b.shape, c.shape)) {
    if (a.source != Source::constant) return;
    const bool same = a.constant.equal(b.constant) && a.constant.equal(c.constant);
    if (same) return;
    throw Error(
        "prepare: a tensor that the forward makes outside of recorded operators changes with the "
        "batch size; make it from the input with torch operators.");
  }
  if (a.source == Source::node) not_linear_in_batch(trace.nodes[a.index], "an output's shape");
  throw Error("prepare: an input's shape does not grow linearly with the batch.");
}

Trace merge(Trace a, const Trace& b, const Trace& c) {
  const auto same_size = [](const auto& x, const auto& y, const auto& z) {
    return x.size() == y.size() && x.size() == z.size();
  };
  bool same = same_size(a.nodes, b.nodes, c.nodes) && same_size(a.values, b.values, c.values) &&
              a.outputs == b.outputs && a.outputs == c.outputs;
  for (size_t i = 0; same && i < a.nodes.size(); ++i) {
    same = a.nodes[i].key == b.nodes[i].key && a.nodes[i].key == c.nodes[i].key &&
           a.nodes[i].arguments.size() == b.nodes[i].arguments.size();
    if (!same) {
      throw Error("prepare: the forward takes another path for another batch size, first at " +
                  site(a.nodes[i]) + ".");
    }
  }
  if (!same) throw Error("prepare: the forward calls other operators for another batch size.");
  for (size_t i = 0; i < a.nodes.size(); ++i) {
    TraceNode& node = a.nodes[i];
    const auto same_outcome = [&](const TraceNode& other) {
      return node.outcome.tagKind() == other.outcome.tagKind() && node.outcome == other.outcome;
    };
    if (!same_outcome(b.nodes[i]) || !same_outcome(c.nodes[i])) node.outcome = c10::IValue();
    for (size_t k = 0; k < node.arguments.size(); ++k) {
      merge_argument(node, node.arguments[k], b.nodes[i].arguments[k], c.nodes[i].arguments[k]);
    }
  }
  for (size_t i = 0; i < a.values.size(); ++i)
    merge_value(a, a.values[i], b.values[i], c.values[i]);
  return a;
}

void require_inputs_used(const Trace& trace) {
  std::vector<bool> reached(trace.values.size(), false);
  for (const int64_t id : trace.outputs) reached[id] = true;
  for (size_t i = trace.nodes.size(); i-- > 0;) {
    const TraceNode& node = trace.nodes[i];
    bool used = false;
    for (const int64_t id : node.outputs) used = used || reached[id];
    if (!used) continue;
    for (const int64_t id : node.inputs()) reached[id] = true;
  }
  for (size_t i = 0; i < trace.inputs.size(); ++i) {
    if (reached[trace.inputs[i]]) continue;
    throw Error("prepare: input " + std::to_string(i) +
                " does not reach the outputs for the given example (a mask of ones is skipped by "
                "some models); give an example in which it matters.");
  }
}

}  // namespace

std::vector<int64_t> TraceNode::inputs() const {
  std::vector<int64_t> ids;
  for (const auto& argument : arguments) {
    for (const int64_t id : argument.values) {
      if (id != kNoValue) ids.push_back(id);
    }
  }
  return ids;
}

size_t TraceNode::input_count() const {
  size_t count = 0;
  for (const auto& argument : arguments) {
    for (const int64_t id : argument.values) count += id != kNoValue;
  }
  return count;
}

std::vector<c10::IValue> TraceNode::plain_arguments() const {
  std::vector<c10::IValue> plain;
  for (const auto& argument : arguments) plain.push_back(argument.plain);
  return plain;
}

int64_t batch_of(const TensorList& example) {
  for (const at::Tensor& tensor : example) {
    if (tensor.dim() > 0) return tensor.size(0);
  }
  throw Error("prepare: the example inputs hold no tensor with a batch axis.");
}

TensorList with_batch(const TensorList& example, int64_t batch) {
  const int64_t given = batch_of(example);
  if (given == 0) throw Error("prepare: the example inputs have batch size 0; give at least 1.");
  TensorList resized;
  for (const at::Tensor& tensor : example) {
    const bool batched = tensor.dim() > 0 && tensor.size(0) == given;
    const auto rows = at::arange(batch, at::TensorOptions(at::kLong).device(tensor.device()));
    resized.push_back(batched ? tensor.detach().index_select(0, rows.remainder(given)) : tensor);
  }
  return resized;
}

Trace record(ModelAccess& access, const TensorList& inputs) {
  at::NoGradGuard no_grad;
  Recorder recorder(access.tensors(), inputs);
  TensorList outputs;
  {
    insert::ModeGuard guard(&recorder);
    try {
      outputs = access.forward(inputs);
    } catch (...) {
      if (recorder.failure()) std::rethrow_exception(recorder.failure());
      throw;
    }
  }
  return recorder.finish(outputs);
}

Trace record_eval(ModelAccess& access, const TensorList& example) {
  Trace first = record(access, with_batch(example, kBatches[0]));
  const Trace second = record(access, with_batch(example, kBatches[1]));
  const Trace third = record(access, with_batch(example, kBatches[2]));
  Trace merged = merge(std::move(first), second, third);
  require_inputs_used(merged);
  return merged;
}

}  // namespace qat::capture
