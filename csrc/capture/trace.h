#pragma once
// A model's forward as it was recorded: a functional graph of ATen operators.

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>

#include <string>
#include <vector>

#include "capture/catalog.h"
#include "graph/graph.h"
#include "insert/prepared_model.h"

namespace qat::capture {

constexpr int64_t kNoValue = -1;

enum class Source { input, parameter, constant, node };

struct TraceValue {
  Source source = Source::node;
  int64_t index = 0;      // of the input or the node
  std::string parameter;  // qualified name; the first of a shared tensor's names
  at::Tensor constant;    // kept alive; the model may still own it
  bool depends_on_input = false;
  at::ScalarType dtype = at::kFloat;
  graph::Shape shape;
  bool is_float() const { return dtype == at::kFloat; }
  int64_t rank() const { return static_cast<int64_t>(shape.size()); }
};

// One argument of a recorded call.
struct TraceArgument {
  enum class Type { plain, value, values } type = Type::plain;
  std::vector<int64_t> values;        // value: one entry; values: one per list element
  c10::IValue plain;                  // as in the first recorded batch
  std::vector<graph::Affine> affine;  // plain integers: how they depend on the batch
};

struct TraceNode {
  explicit TraceNode(c10::OperatorHandle handle) : op(std::move(handle)) {}
  c10::OperatorHandle op;  // functional
  Kind kind = Kind::other;
  std::string stem;
  std::vector<TraceArgument> arguments;
  std::vector<int64_t> outputs;

  std::string name;             // the site: "layer1.0.conv1"
  uint64_t key = 0;             // Note [Site keys]
  bool data_dependent = false;  // its result left the graph (item(), a branch)
  c10::IValue outcome;          // that result, None where it varies with the batch

  // Value ids of every tensor argument, in schema order.
  std::vector<int64_t> inputs() const;
  size_t input_count() const;
  // The arguments as IValues of the first batch, tensors left as None.
  std::vector<c10::IValue> plain_arguments() const;
};

struct Trace {
  std::vector<TraceValue> values;
  std::vector<TraceNode> nodes;
  std::vector<int64_t> inputs, outputs;
  std::vector<std::string> parametric_sites;  // names of sites with parameters, in order
};

// Records `access`'s forward in its present mode on one list of inputs. Batch-dependent integers
// are as recorded, with per_batch 0.
Trace record(ModelAccess& access, const TensorList& inputs);

// Records in eval mode with three batch sizes and expresses every integer as a*B + c. Throws
// qat::Error naming the operator where that is impossible, or where an input does not reach the
// outputs.
Trace record_eval(ModelAccess& access, const TensorList& example);

// The example with another batch size: rows repeated or dropped along axis 0.
TensorList with_batch(const TensorList& example, int64_t batch);
int64_t batch_of(const TensorList& example);

}  // namespace qat::capture
