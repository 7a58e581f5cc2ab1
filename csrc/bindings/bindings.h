#pragma once
// The parts of the module _C: each adds its classes and functions.

#include <pybind11/pybind11.h>

namespace qat::bindings {

void add_errors(pybind11::module_& module);
void add_recipe(pybind11::module_& module);
void add_prepared_model(pybind11::module_& module);
void add_insertion(pybind11::module_& module);
void add_contents(pybind11::module_& module);
void add_integer_model(pybind11::module_& module);
void add_objectives(pybind11::module_& module);
void add_ptq(pybind11::module_& module);

}  // namespace qat::bindings
