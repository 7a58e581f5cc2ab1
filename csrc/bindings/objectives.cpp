#include <pybind11/functional.h>
#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include "bindings/bindings.h"
#include "objectives/attack.h"
#include "objectives/distillation.h"

namespace qat::bindings {

namespace py = pybind11;

void add_objectives(py::module_& module) {
  using NoGil = py::call_guard<py::gil_scoped_release>;
  py::class_<AttackOptions>(module, "AttackOptions")
      .def(py::init<>())
      .def_readwrite("epsilon", &AttackOptions::epsilon)
      .def_readwrite("step", &AttackOptions::step)
      .def_readwrite("low", &AttackOptions::low)
      .def_readwrite("high", &AttackOptions::high)
      .def_readwrite("steps", &AttackOptions::steps)
      .def_readwrite("random_start", &AttackOptions::random_start)
      .def_readwrite("generator", &AttackOptions::generator);
  module.def("pgd", &pgd, py::arg("loss_of"), py::arg("inputs"), py::arg("options"), NoGil());
  py::class_<DistillationOptions>(module, "DistillationOptions")
      .def(py::init<>())
      .def_readwrite("temperature", &DistillationOptions::temperature)
      .def_readwrite("weight", &DistillationOptions::weight)
      .def_readwrite("label_smoothing", &DistillationOptions::label_smoothing);
  module.def("distillation_loss", &distillation_loss, py::arg("student_logits"),
             py::arg("teacher_logits"), py::arg("targets"), py::arg("options"), NoGil());
  module.def("feature_loss", &feature_loss, py::arg("student"), py::arg("teacher"), NoGil());
}

}  // namespace qat::bindings
