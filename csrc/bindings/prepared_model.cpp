#include "insert/prepared_model.h"

#include <pybind11/stl.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/utils/pybind.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/bindings.h"
#include "quantizers/recipe.h"

namespace qat::bindings {

namespace py = pybind11;

namespace {

// Reaches a Python object from engine threads that do not hold the GIL, and lets it go under it.
std::shared_ptr<py::object> hold(py::object object) {
  return {new py::object(std::move(object)), [](py::object* held) {
            if (!Py_IsInitialized()) {
              held->release();
            } else {
              py::gil_scoped_acquire gil;
              *held = py::object();
            }
            delete held;
          }};
}

template <typename Result, typename... Arguments>
Result call(const std::shared_ptr<py::object>& object, const char* method,
            const Arguments&... arguments) {
  py::gil_scoped_acquire gil;
  return object->attr(method)(arguments...).template cast<Result>();
}

// access: an object with the methods of qat_ext._access.ModelAccess.
std::shared_ptr<PreparedModel> create(py::object access, const std::vector<TensorList>& examples,
                                      const std::string& recipe) {
  const auto held = hold(std::move(access));
  ModelAccess engine_access{
      .forward =
          [held](const TensorList& inputs) { return call<TensorList>(held, "forward", inputs); },
      .tensors = [held] { return call<NamedTensors>(held, "tensors"); },
      .generation = [held] { return call<int64_t>(held, "generation"); },
      .is_training = [held] { return call<bool>(held, "is_training"); },
      .train =
          [held](bool on) {
            py::gil_scoped_acquire gil;
            held->attr("train")(on);
          },
  };
  const Recipe parsed = Recipe::from_json(nlohmann::json::parse(recipe));
  const torch::PyWarningHandler warnings;  // reports what the engine warned of, once it returns
  py::gil_scoped_release no_gil;
  return PreparedModel::create(std::move(engine_access), examples, parsed);
}

}  // namespace

void add_prepared_model(py::module_& module) {
  py::enum_<Phase>(module, "Phase")
      .value("floating", Phase::floating)
      .value("calibrate", Phase::calibrate)
      .value("qat", Phase::qat);
  using NoGil = py::call_guard<py::gil_scoped_release>;
  py::class_<PreparedModel, std::shared_ptr<PreparedModel>>(module, "PreparedModel")
      .def(py::init(&create), py::arg("access"), py::arg("examples"), py::arg("recipe"))
      .def("forward", py::overload_cast<const TensorList&>(&PreparedModel::forward), NoGil())
      .def(
          "forward_with_taps",
          [](PreparedModel& prepared, const TensorList& inputs,
             const std::vector<std::string>& sites) {
            TappedOutputs all = prepared.forward_with_taps(inputs, sites);
            return std::make_pair(std::move(all.outputs), std::move(all.taps));
          },
          py::arg("inputs"), py::arg("sites"), NoGil())
      .def(
          "activation_ranges",
          [](PreparedModel& prepared, const TensorList& inputs) {
            std::vector<std::tuple<std::string, at::Tensor, at::Tensor>> all;
            for (const ChannelRanges& ranges : prepared.activation_ranges(inputs)) {
              all.emplace_back(ranges.site, ranges.min, ranges.max);
            }
            return all;
          },
          py::arg("inputs"), NoGil())
      .def("sites", &PreparedModel::sites)
      .def_property("phase", &PreparedModel::phase, &PreparedModel::set_phase)
      .def_property("batch_norm_frozen", &PreparedModel::batch_norm_frozen,
                    &PreparedModel::freeze_batch_norm)
      .def_property("ranges_frozen", &PreparedModel::ranges_frozen, &PreparedModel::freeze_ranges)
      .def("step", &PreparedModel::step, py::arg("fraction"))
      .def("oscillation_loss", &PreparedModel::oscillation_loss)
      .def("state", &PreparedModel::state)
      .def("merge_observations", &PreparedModel::merge_observations, py::arg("state"))
      .def("plan", &PreparedModel::plan)
      .def("recipe",
           [](const PreparedModel& prepared) { return prepared.recipe().to_json().dump(); });
}

}  // namespace qat::bindings
