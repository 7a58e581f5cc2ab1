#include <c10/util/Exception.h>
#include <torch/csrc/Exceptions.h>

#include <exception>

#include "bindings/bindings.h"
#include "error.h"

namespace qat::bindings {

namespace py = pybind11;

void add_errors(py::module_& module) {
  // Torch's own errors keep the Python types that torch gives them and lose the C++ backtrace.
  // Translators run last registered first, so qat::Error comes before this one.
  py::register_exception_translator([](std::exception_ptr pointer) {
    if (!pointer) return;
    try {
      std::rethrow_exception(pointer);
    } catch (const c10::Error&) {
      torch::translate_exception_to_python(std::current_exception());
    }
  });
  auto& error = py::register_exception<Error>(module, "Error", PyExc_RuntimeError);
  error.attr("__module__") = "qat_ext";
  error.attr("__doc__") =
      "A rule of qat_ext does not hold; the message says which and how to mend it.";
}

}  // namespace qat::bindings
