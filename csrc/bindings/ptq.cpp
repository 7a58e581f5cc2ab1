#include "ptq/ptq.h"

#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include <string>
#include <tuple>
#include <vector>

#include "bindings/bindings.h"

namespace qat::bindings {

namespace py = pybind11;

namespace {

ptq::Batches batches_of(const std::vector<TensorList>& lists) {
  return {static_cast<int64_t>(lists.size()),
          [&lists](int64_t index) { return lists.at(static_cast<size_t>(index)); }};
}

std::vector<std::pair<std::string, double>> rows(const std::vector<ptq::ChannelShift>& shifts) {
  std::vector<std::pair<std::string, double>> all;
  for (const auto& shift : shifts) all.emplace_back(shift.site, shift.largest);
  return all;
}

using EqualizedRow = std::tuple<std::string, std::string, double, double>;
using RoundedRow = std::tuple<std::string, double, double, double>;

std::vector<EqualizedRow> equalize(PreparedModel& prepared) {
  std::vector<EqualizedRow> all;
  for (const auto& pair : ptq::equalize(prepared)) {
    all.emplace_back(pair.first, pair.second, pair.smallest, pair.largest);
  }
  return all;
}

std::vector<RoundedRow> adaround(PreparedModel& prepared, const std::vector<TensorList>& lists,
                                 const ptq::AdaroundOptions& options,
                                 const ptq::Reference& reference) {
  std::vector<RoundedRow> all;
  for (const auto& layer : ptq::adaround(prepared, batches_of(lists), options, reference)) {
    all.emplace_back(layer.site, layer.nearest_error, layer.error, layer.changed);
  }
  return all;
}

}  // namespace

void add_ptq(py::module_& module) {
  using NoGil = py::call_guard<py::gil_scoped_release>;
  py::class_<ptq::AdaroundOptions>(module, "AdaroundOptions")
      .def(py::init<>())
      .def_readwrite("iterations", &ptq::AdaroundOptions::iterations)
      .def_readwrite("lr", &ptq::AdaroundOptions::lr)
      .def_readwrite("regularizer", &ptq::AdaroundOptions::regularizer)
      .def_readwrite("beta_start", &ptq::AdaroundOptions::beta_start)
      .def_readwrite("beta_end", &ptq::AdaroundOptions::beta_end)
      .def_readwrite("warmup", &ptq::AdaroundOptions::warmup)
      .def_readwrite("batch", &ptq::AdaroundOptions::batch)
      .def_readwrite("samples", &ptq::AdaroundOptions::samples)
      .def_readwrite("seed", &ptq::AdaroundOptions::seed);
  module.def("equalize", &equalize, py::arg("prepared"), NoGil());
  module.def(
      "reestimate_batch_norm",
      [](PreparedModel& prepared, const std::vector<TensorList>& lists) {
        return rows(ptq::reestimate_batch_norm(prepared, batches_of(lists)));
      },
      py::arg("prepared"), py::arg("batches"), NoGil());
  module.def(
      "correct_bias",
      [](PreparedModel& prepared, const std::vector<TensorList>& lists,
         const ptq::Reference& reference) {
        return rows(ptq::correct_bias(prepared, batches_of(lists), reference));
      },
      py::arg("prepared"), py::arg("batches"), py::arg("reference"), NoGil());
  module.def("adaround", &adaround, py::arg("prepared"), py::arg("batches"), py::arg("options"),
             py::arg("reference"), NoGil());
}

}  // namespace qat::bindings
