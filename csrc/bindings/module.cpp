#include "bindings/bindings.h"
#include "version.h"

PYBIND11_MODULE(_C, m) {
  m.doc() = "The engine of qat_ext; used through the functions of the package.";
  m.def("version", &qat::version, "Version of libqat_ext.");
  m.def("torch_version", &qat::torch_version, "Version of the torch it was built against.");
  qat::bindings::add_errors(m);
  qat::bindings::add_recipe(m);
  qat::bindings::add_prepared_model(m);
  qat::bindings::add_insertion(m);
  qat::bindings::add_contents(m);
  qat::bindings::add_integer_model(m);
  qat::bindings::add_objectives(m);
  qat::bindings::add_ptq(m);
}
