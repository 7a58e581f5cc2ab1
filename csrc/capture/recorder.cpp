#include "capture/recorder.h"

#include "error.h"

namespace qat::capture {
namespace {

std::vector<graph::Affine> fixed_shape(at::IntArrayRef sizes) {
  std::vector<graph::Affine> shape;
  for (const int64_t size : sizes) shape.push_back({0, size});
  return shape;
}

// Integers whose dependence on the batch has to be found out.
std::vector<graph::Affine> integers_of(const c10::IValue& value) {
  if (value.isInt()) return {{0, value.toInt()}};
  if (value.isIntList()) return fixed_shape(value.toIntVector());
  return {};
}

// nullptr for tensors without memory of their own (functorch's wrappers).
const c10::StorageImpl* storage_of(const at::Tensor& tensor) {
  return tensor.has_storage() ? tensor.storage().unsafeGetStorageImpl() : nullptr;
}

// Operators that take a tensor for its shape and type alone.
bool reads_only_metadata(const std::string& stem) {
  static const std::set<std::string> stems{"new_zeros",  "new_ones",  "new_full",  "new_empty",
                                           "zeros_like", "ones_like", "full_like", "empty_like"};
  const auto at = stem.rfind(':');
  return stems.count(at == std::string::npos ? stem : stem.substr(at + 1)) > 0;
}

bool writes(const c10::FunctionSchema& schema, size_t index) {
  const auto* alias = schema.arguments()[index].alias_info();
  return alias != nullptr && alias->isWrite();
}

}  // namespace

Recorder::Recorder(const NamedTensors& tensors, const TensorList& inputs) {
  value_module_.push_back("input");
  for (const auto& [name, tensor] : tensors) {
    if (tensor.defined()) parameter_names_.emplace(tensor.unsafeGetTensorImpl(), name);
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    TraceValue value;
    value.source = Source::input;
    value.index = static_cast<int64_t>(i);
    value.depends_on_input = true;
    const int64_t id = new_value(inputs[i], std::move(value));
    ancestors_[id] = SiteKeys::input();
    trace_.inputs.push_back(id);
  }
}

int64_t Recorder::new_value(const at::Tensor& tensor, TraceValue value) {
  const auto id = static_cast<int64_t>(trace_.values.size());
  value.dtype = tensor.scalar_type();
  value.shape = fixed_shape(tensor.sizes());
  trace_.values.push_back(std::move(value));
  ancestors_.emplace_back();
  overwritten_.push_back(false);
  ids_[tensor.unsafeGetTensorImpl()] = id;
  alive_.push_back(tensor);
  return id;
}

int64_t Recorder::value_of(const at::Tensor& tensor, const TraceNode* user) {
  const auto known = ids_.find(tensor.unsafeGetTensorImpl());
  if (known != ids_.end()) {
    if (overwritten_[known->second]) {
      throw Error("prepare: " + (user ? user->stem : std::string("an output")) +
                  " reads a tensor that an in-place operator has changed through a view; write to "
                  "the tensor itself, or use the out-of-place operator.");
    }
    return known->second;
  }
  const int64_t twin = twin_of(tensor);
  if (twin != kNoValue) {
    twins_.push_back(tensor);
    return ids_[tensor.unsafeGetTensorImpl()] = twin;
  }
  TraceValue value;
  const auto parameter = parameter_names_.find(tensor.unsafeGetTensorImpl());
  if (parameter != parameter_names_.end()) {
    value.source = Source::parameter;
    value.parameter = parameter->second;
  } else {
    value.source = Source::constant;
    value.constant =
        scratch_.count(storage_of(tensor)) > 0 ? tensor.detach().clone() : tensor.detach();
  }
  return new_value(tensor, std::move(value));
}

// The recorded tensor over the very same memory: factory functions of the C++ front end and .data
// hand out a copy of the tensor object that no operator made.
int64_t Recorder::twin_of(const at::Tensor& tensor) const {
  const auto* storage = storage_of(tensor);
  if (storage == nullptr || parameter_names_.count(tensor.unsafeGetTensorImpl()) > 0) {
    return kNoValue;
  }
  for (size_t i = alive_.size(); i-- > 0;) {
    const at::Tensor& other = alive_[i];
    const bool same = storage_of(other) == storage && other.sizes() == tensor.sizes() &&
                      other.strides() == tensor.strides() &&
                      other.storage_offset() == tensor.storage_offset() &&
                      other.scalar_type() == tensor.scalar_type();
    const auto id = ids_.find(other.unsafeGetTensorImpl());
    if (same && id != ids_.end() && !overwritten_[id->second]) return id->second;
  }
  return kNoValue;
}

TraceArgument Recorder::argument(const c10::IValue& value, const TraceNode& node) {
  TraceArgument made;
  if (value.isTensor()) {
    if (value.toTensor().defined()) {  // the C++ front end spells "no bias" as an undefined tensor
      made.type = TraceArgument::Type::value;
      made.values = {value_of(value.toTensor(), &node)};
    }
  } else if (value.isTensorList()) {
    made.type = TraceArgument::Type::values;
    for (const at::Tensor& tensor : value.toTensorVector()) {
      made.values.push_back(value_of(tensor, &node));
    }
  } else if (value.isList() && !value.toListRef().empty() && value.toListRef()[0].isTensor()) {
    made.type = TraceArgument::Type::values;  // Tensor?[], undefined entries allowed
    for (const c10::IValue& item : value.toListRef()) {
      const bool defined = item.isTensor() && item.toTensor().defined();
      made.values.push_back(defined ? value_of(item.toTensor(), &node) : kNoValue);
    }
  } else {
    made.plain = value;
    made.affine = integers_of(value);
  }
  return made;
}

std::string Recorder::unique_name(const std::string& wanted) {
  const int64_t taken = names_[wanted]++;
  return taken == 0 ? wanted : wanted + "_" + std::to_string(taken);
}

void Recorder::name_node(TraceNode& node) {
  std::string parameter;
  std::vector<Ancestor> operands;
  for (const int64_t id : node.inputs()) {
    const TraceValue& value = trace_.values[id];
    if (parameter.empty() && !value.parameter.empty() && !value.depends_on_input) {
      parameter = value.parameter;
    }
    operands.push_back(ancestors_[id]);
  }
  Ancestor ancestor;
  if (!parameter.empty()) {
    const auto site = keys_.parametric(node.stem, parameter);
    node.key = site.key;
    ancestor = site.ancestor;
    const std::string module = parent_name(parameter);
    value_module_.push_back(module);
    std::string name = module.empty() ? node.stem : module;
    if (site.repeat > 0) name += "#" + std::to_string(site.repeat);
    node.name = unique_name(name);
    trace_.parametric_sites.push_back(node.name);
  } else {
    const auto site = keys_.plain(node.stem, operands);
    node.key = site.key;
    ancestor = site.ancestor;
    const std::string module =
        ancestor.order < 0 ? "constant" : parent_name(value_module_[ancestor.order]);
    node.name = unique_name(module.empty() ? node.stem : module + "." + node.stem);
  }
  for (const int64_t id : node.outputs) ancestors_[id] = ancestor;
}

// A tensor that the forward fills by itself, from neither the input nor a parameter (a mask put
// together by slices): its readers take it as a constant, in the state in which they find it.
bool Recorder::is_scratch(const at::Tensor& written) const {
  const auto id = ids_.find(written.unsafeGetTensorImpl());
  if (id == ids_.end()) return parameter_names_.count(written.unsafeGetTensorImpl()) == 0;
  const TraceValue& value = trace_.values[id->second];
  return !value.depends_on_input && value.parameter.empty();
}

void Recorder::forget_aliases(const at::Tensor& written) {
  const auto* storage = storage_of(written);
  scratch_.insert(storage);
  for (const at::Tensor& other : alive_) {
    if (storage_of(other) == storage) ids_.erase(other.unsafeGetTensorImpl());
  }
}

void Recorder::retire_aliases(const at::Tensor& written) {
  const auto* storage = storage_of(written);
  for (const at::Tensor& other : alive_) {
    const bool same = other.unsafeGetTensorImpl() == written.unsafeGetTensorImpl();
    if (same || storage_of(other) != storage) continue;
    const auto id = ids_.find(other.unsafeGetTensorImpl());
    if (id != ids_.end()) overwritten_[id->second] = true;
  }
}

void Recorder::record_outputs(TraceNode& node, const torch::jit::Stack& stack,
                              const at::Tensor& written) {
  const size_t count = node.op.schema().returns().size();
  const auto add = [&](const at::Tensor& tensor) {
    TraceValue value;
    value.index = static_cast<int64_t>(trace_.nodes.size());
    for (const int64_t id : node.inputs()) {
      const TraceValue& input = trace_.values[id];
      value.depends_on_input |= input.depends_on_input && !reads_only_metadata(node.stem);
      if (value.parameter.empty() && !input.depends_on_input) value.parameter = input.parameter;
    }
    if (value.depends_on_input) value.parameter.clear();
    node.outputs.push_back(new_value(tensor, std::move(value)));
  };
  for (size_t i = stack.size() - count; i < stack.size(); ++i) {
    if (stack[i].isTensor() && stack[i].toTensor().defined()) {
      add(stack[i].toTensor());
    } else if (stack[i].isTensorList()) {
      for (const at::Tensor& tensor : stack[i].toTensorVector()) add(tensor);
    } else {
      node.data_dependent = true;
      node.outcome = stack[i];
    }
  }
  if (written.defined()) retire_aliases(written);
}

void Recorder::handle(const c10::OperatorHandle& op, torch::jit::Stack& stack) {
  try {
    record(op, stack);
  } catch (const Error&) {
    failure_ = std::current_exception();
    throw;
  }
}

void Recorder::record(const c10::OperatorHandle& op, torch::jit::Stack& stack) {
  const Operator& known = classify(op);
  const auto& schema = op.schema();
  const size_t count = schema.arguments().size();
  const size_t first = stack.size() - count;
  at::Tensor written;
  for (size_t i = 0; i < count; ++i) {
    if (writes(schema, i) && stack[first + i].isTensor()) written = stack[first + i].toTensor();
  }
  if (written.defined() && is_scratch(written)) {
    op.callBoxed(&stack);
    forget_aliases(written);
    return;
  }
  TraceNode node(known.in_place ? functional(op) : op);
  node.kind = known.kind;
  node.stem = known.stem.empty() ? op.operator_name().name : known.stem;
  if (written.defined() && !known.in_place) {
    throw Error("prepare: the operator " + op.operator_name().name +
                " writes into one of its arguments in a way that cannot be recorded.");
  }
  for (size_t i = 0; i < count; ++i) {
    node.arguments.push_back(argument(stack[first + i], node));
  }
  // Arguments that only the in-place overload lacks take the functional overload's defaults.
  for (size_t i = count; i < node.op.schema().arguments().size(); ++i) {
    TraceArgument made;
    made.plain = *node.op.schema().arguments()[i].default_value();
    node.arguments.push_back(std::move(made));
  }
  op.callBoxed(&stack);
  record_outputs(node, stack, written);
  name_node(node);
  trace_.nodes.push_back(std::move(node));
}

Trace Recorder::finish(const TensorList& outputs) {
  for (const at::Tensor& output : outputs) trace_.outputs.push_back(value_of(output, nullptr));
  return std::move(trace_);
}

}  // namespace qat::capture
