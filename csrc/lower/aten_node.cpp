#include "lower/aten_node.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/jit_type.h>

#include "error.h"
#include "insert/island.h"
#include "lower/tensors.h"

namespace qat::lower {
namespace {

using graph::AtenArgument;
using graph::AtenList;

template <typename T>
AtenArgument argument_of(T value) {
  AtenArgument made;
  made.value = std::move(value);
  return made;
}

AtenArgument plain_argument(const c10::IValue& value, const std::vector<graph::Affine>& affine,
                            const std::string& site) {
  if (value.isNone()) return argument_of(graph::NoneArgument{});
  if (value.isBool()) return argument_of(value.toBool());
  if (value.isInt()) return argument_of(affine.at(0));
  if (value.isDouble()) return argument_of(value.toDouble());
  if (value.isString()) return argument_of(value.toStringRef());
  if (value.isDevice()) return argument_of(value.toDevice().str());
  AtenList list;
  if (value.isIntList()) {
    for (const graph::Affine& item : affine) list.push_back(argument_of(item));
  } else if (value.isDoubleList()) {
    for (const double item : value.toDoubleVector()) list.push_back(argument_of(item));
  } else if (value.isBoolList()) {
    for (const bool item : value.toBoolList()) list.push_back(argument_of(item));
  } else if (value.isTensorList() || value.isList()) {
    if (value.toListRef().empty()) return argument_of(std::move(list));
    throw Error("convert: " + site + ": an argument of type " + value.tagKind() +
                " cannot be stored in a model file.");
  } else {
    throw Error("convert: " + site + ": an argument of type " + value.tagKind() +
                " cannot be stored in a model file.");
  }
  return argument_of(std::move(list));
}

c10::TypePtr without_optional(c10::TypePtr type) {
  if (auto optional = type->cast<c10::OptionalType>()) return optional->getElementType();
  return type;
}

class Binder {
 public:
  Binder(const std::vector<at::Tensor>& inputs, int64_t batch) : inputs_(inputs), batch_(batch) {}

  c10::IValue bind(const AtenArgument& argument, const c10::TypePtr& declared) const {
    const auto type = without_optional(declared);
    if (const auto* list = std::get_if<AtenList>(&argument.value)) return bind_list(*list, type);
    if (std::holds_alternative<graph::NoneArgument>(argument.value)) return {};
    if (const auto* input = std::get_if<graph::InputArgument>(&argument.value)) {
      return inputs_.at(input->index);
    }
    if (const auto* number = std::get_if<graph::Affine>(&argument.value)) {
      if (type->kind() == c10::TypeKind::FloatType) return static_cast<double>(number->at(batch_));
      return number->at(batch_);
    }
    if (const auto* real = std::get_if<double>(&argument.value)) return *real;
    if (const auto* flag = std::get_if<bool>(&argument.value)) return *flag;
    const auto& text = std::get<std::string>(argument.value);
    if (type->kind() == c10::TypeKind::DeviceObjType) return c10::Device(text);
    return text;
  }

 private:
  c10::IValue bind_list(const AtenList& list, const c10::TypePtr& type) const {
    const auto declared = type->cast<c10::ListType>();
    if (!declared) throw Error("aten node: a list was given where the schema has none.");
    const auto element = declared->getElementType();
    const bool optional = element->kind() == c10::TypeKind::OptionalType;
    const auto kind = without_optional(element)->kind();
    if (kind == c10::TypeKind::TensorType && optional) {
      c10::List<std::optional<at::Tensor>> made;
      for (const auto& item : list) {
        const auto value = bind(item, element);
        made.push_back(value.isNone() ? std::nullopt : std::optional(value.toTensor()));
      }
      return made;
    }
    if (kind == c10::TypeKind::TensorType) return typed<at::Tensor>(list, element);
    if (kind == c10::TypeKind::FloatType) return typed<double>(list, element);
    if (kind == c10::TypeKind::BoolType) return typed<bool>(list, element);
    return typed<int64_t>(list, element);
  }

  template <typename T>
  c10::IValue typed(const AtenList& list, const c10::TypePtr& element) const {
    c10::List<T> made;
    for (const auto& item : list) made.push_back(bind(item, element).template to<T>());
    return made;
  }

  const std::vector<at::Tensor>& inputs_;
  int64_t batch_;
};

c10::OperatorName parse_name(const std::string& schema) {
  const auto dot = schema.find('.', schema.find("::") + 2);
  if (dot == std::string::npos) return {schema, ""};
  return {schema.substr(0, dot), schema.substr(dot + 1)};
}

// A model file is data: the operators it names may compute and nothing else.
void require_harmless(const c10::OperatorHandle& op, const std::string& schema) {
  const auto& declared = op.schema();
  bool harmless = declared.name().compare(0, 6, "aten::") == 0 && !declared.is_mutable() &&
                  declared.name() != "aten::from_file";
  for (const auto& returned : declared.returns()) {
    const auto kind = returned.type()->kind();
    harmless = harmless && (kind == c10::TypeKind::TensorType || kind == c10::TypeKind::ListType);
  }
  if (!harmless) {
    throw Error("aten node: operator '" + schema +
                "' is not one that a model file may call: only "
                "functional operators of ATen with tensor results are.");
  }
}

}  // namespace

graph::AtenAttributes aten_attributes(const capture::TraceNode& node,
                                      std::vector<int64_t>& inputs) {
  graph::AtenAttributes made;
  const auto& name = node.op.operator_name();
  made.schema = name.overload_name.empty() ? name.name : name.name + "." + name.overload_name;
  const auto tensor = [&](int64_t id) -> AtenArgument {
    if (id == capture::kNoValue) return argument_of(graph::NoneArgument{});
    inputs.push_back(id);
    return argument_of(graph::InputArgument{static_cast<int64_t>(inputs.size()) - 1});
  };
  for (const auto& argument : node.arguments) {
    switch (argument.type) {
      case capture::TraceArgument::Type::value:
        made.arguments.push_back(tensor(argument.values[0]));
        break;
      case capture::TraceArgument::Type::values: {
        AtenList list;
        for (const int64_t id : argument.values) list.push_back(tensor(id));
        made.arguments.push_back(argument_of(std::move(list)));
        break;
      }
      case capture::TraceArgument::Type::plain:
        made.arguments.push_back(plain_argument(argument.plain, argument.affine, node.name));
        break;
    }
  }
  return made;
}

std::vector<at::Tensor> call_aten(const graph::AtenAttributes& attributes,
                                  const std::vector<at::Tensor>& inputs, int64_t batch) {
  const auto op = c10::Dispatcher::singleton().findSchema(parse_name(attributes.schema));
  if (!op) {
    throw Error("aten node: this torch has no operator '" + attributes.schema +
                "'; load the model with the version it was made with.");
  }
  require_harmless(*op, attributes.schema);
  const auto& declared = op->schema().arguments();
  if (declared.size() != attributes.arguments.size()) {
    throw Error("aten node: operator '" + attributes.schema + "' takes " +
                std::to_string(declared.size()) + " arguments, the model file gives " +
                std::to_string(attributes.arguments.size()) + ".");
  }
  at::NoGradGuard no_grad;
  const Binder binder(inputs, batch);
  torch::jit::Stack stack;
  for (size_t i = 0; i < declared.size(); ++i) {
    stack.push_back(binder.bind(attributes.arguments[i], declared[i].type()));
  }
  insert::call_island(*op, stack, /*allow_autocast=*/false);
  std::vector<at::Tensor> results;
  for (const c10::IValue& value : stack) {
    if (value.isTensor()) results.push_back(value.toTensor());
    if (value.isTensorList()) {
      for (const at::Tensor& tensor : value.toTensorVector()) results.push_back(tensor);
    }
  }
  return results;
}

runtime::AtenEvaluator aten_evaluator() {
  return [](const graph::AtenAttributes& attributes,
            const std::vector<const graph::Tensor*>& inputs, int64_t batch) {
    std::vector<at::Tensor> tensors;
    for (const graph::Tensor* input : inputs) tensors.push_back(to_aten(*input));
    std::vector<graph::Tensor> outputs;
    for (const at::Tensor& result : call_aten(attributes, tensors, batch)) {
      outputs.push_back(to_graph(result, attributes.schema));
    }
    return outputs;
  };
}

}  // namespace qat::lower
