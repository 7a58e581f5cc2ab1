#include "lower/integer_model.h"

#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include <string>
#include <utility>
#include <vector>

#include "bindings/bindings.h"
#include "checkpoint/checkpoint.h"
#include "error.h"

namespace qat::bindings {

namespace py = pybind11;

namespace {

using Names = std::vector<std::string>;

Names input_names(const graph::Graph& graph) {
  Names names;
  for (const int64_t index : graph.inputs) names.push_back(graph.values.at(index).name);
  return names;
}

void set_input_names(IntegerModel& integer, const Names& names) {
  graph::Graph& graph = integer.model().graph;
  if (names.size() != graph.inputs.size()) {
    throw Error("convert: the model has " + std::to_string(graph.inputs.size()) + " inputs, got " +
                std::to_string(names.size()) + " names");
  }
  for (size_t i = 0; i < names.size(); ++i) graph.values.at(graph.inputs[i]).name = names[i];
}

void set_output_names(IntegerModel& integer, const Names& names) {
  graph::Graph& graph = integer.model().graph;
  if (!names.empty() && names.size() != graph.outputs.size()) {
    throw Error("convert: the model has " + std::to_string(graph.outputs.size()) +
                " outputs, got " + std::to_string(names.size()) + " names");
  }
  graph.output_names = names;
}

// The integer model with the names that lowering gives: convert() in Python names inputs and
// outputs after the arguments and results of the user's forward, which verify would count as a
// difference.
VerifyReport verify_numbers(PreparedModel& prepared, const IntegerModel& integer,
                            const std::vector<TensorList>& batches) {
  prepared.access().train(false);
  const graph::Graph lowered = convert(prepared).model().graph;
  IntegerModel renamed{graph::Model(integer.model())};
  if (renamed.model().graph.inputs.size() == lowered.inputs.size()) {
    set_input_names(renamed, input_names(lowered));
  }
  renamed.model().graph.output_names = lowered.output_names;
  return verify(prepared, renamed, batches);
}

std::vector<std::pair<std::string, std::string>> nodes(const IntegerModel& integer) {
  std::vector<std::pair<std::string, std::string>> all;
  for (const graph::Node& node : integer.model().graph.nodes) {
    all.emplace_back(node.name, graph::operator_name(node.attributes));
  }
  return all;
}

}  // namespace

void add_integer_model(py::module_& module) {
  py::enum_<ExecutorKind>(module, "ExecutorKind")
      .value("fast", ExecutorKind::fast)
      .value("reference", ExecutorKind::reference);
  using NoGil = py::call_guard<py::gil_scoped_release>;
  py::class_<IntegerModel>(module, "IntegerModel")
      .def_static("load", &IntegerModel::load, py::arg("path"), NoGil())
      .def("save", &IntegerModel::save, py::arg("path"), NoGil())
      .def("forward",
           py::overload_cast<const TensorList&, ExecutorKind>(&IntegerModel::forward, py::const_),
           py::arg("inputs"), py::arg("kind"), NoGil())
      .def("integer_fraction", &IntegerModel::integer_fraction)
      .def("nodes", &nodes)
      .def_property(
          "input_names",
          [](const IntegerModel& integer) { return input_names(integer.model().graph); },
          &set_input_names)
      .def_property(
          "output_names",
          [](const IntegerModel& integer) { return integer.model().graph.output_names; },
          &set_output_names)
      .def_property(
          "provenance", [](const IntegerModel& integer) { return integer.model().provenance; },
          [](IntegerModel& integer, const graph::Provenance& provenance) {
            integer.model().provenance = provenance;
          });
  py::class_<VerifyReport>(module, "VerifyReport")
      .def_readonly("logits", &VerifyReport::logits)
      .def_readonly("differing", &VerifyReport::differing)
      .def_readonly("differing_parameters", &VerifyReport::differing_parameters)
      .def_readonly("first_difference", &VerifyReport::first_difference);
  module.def("convert", &convert, py::arg("prepared"), NoGil());
  module.def("verify", &verify_numbers, py::arg("prepared"), py::arg("integer"), py::arg("batches"),
             NoGil());
}

}  // namespace qat::bindings
