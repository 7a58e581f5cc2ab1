#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include <memory>
#include <string>

#include "bindings/bindings.h"
#include "insert/quantized_tensor.h"
#include "insert/recompute.h"

namespace qat::bindings {

namespace py = pybind11;

namespace {

using insert::Recomputation;

// A context manager: the guards inside must go in the thread and the order in which they came.
class RunContext {
 public:
  RunContext(std::shared_ptr<Recomputation> part, TensorList arguments, bool again)
      : part_(std::move(part)), arguments_(std::move(arguments)), again_(again) {}
  void enter() { run_ = again_ ? part_->run_again(arguments_) : part_->first_run(); }
  void exit() { run_.reset(); }

 private:
  std::shared_ptr<Recomputation> part_;
  TensorList arguments_;
  bool again_;
  std::unique_ptr<Recomputation::Run> run_;
};

std::string held_as(const at::Tensor& tensor) {
  const auto* payload = insert::payload_of(tensor);
  if (payload == nullptr) return "real";
  return payload->codes ? "codes" : "pending";
}

}  // namespace

void add_insertion(py::module_& module) {
  py::class_<RunContext>(module, "RunContext")
      .def("__enter__", &RunContext::enter)
      .def("__exit__", [](RunContext& run, const py::args&) { run.exit(); });
  py::class_<Recomputation, std::shared_ptr<Recomputation>>(module, "Recomputation")
      .def_static("begin", &Recomputation::begin, py::arg("arguments"))
      .def("first_run",
           [](std::shared_ptr<Recomputation> part) {
             return RunContext(std::move(part), {}, false);
           })
      .def("run_again", [](std::shared_ptr<Recomputation> part, const TensorList& arguments) {
        return RunContext(std::move(part), arguments, true);
      });
  module.def("held_as", &held_as, py::arg("tensor"),
             "How an activation is held: 'codes', 'pending' (a chain that has not been evaluated) "
             "or 'real'.");
}

}  // namespace qat::bindings
