#include "quantizers/recipe.h"

#include <nlohmann/json.hpp>
#include <string>

#include "bindings/bindings.h"
#include "error.h"
#ifdef QAT_DRIVER
#include "train/job_sections.h"
#include "train/yaml_tree.h"
#endif

namespace qat::bindings {

namespace py = pybind11;

namespace {

std::string named_recipe(const std::string& name) { return Recipe::named(name).to_json().dump(); }

std::string check_recipe(const std::string& json) {
  return Recipe::from_json(nlohmann::json::parse(json)).to_json().dump();
}

std::string recipe_file(const std::string& path) {
#ifdef QAT_DRIVER
  return train::parse_recipe(train::parse_yaml_file(path)).to_json().dump();
#else
  throw Error("recipe: reading " + path +
              " needs the YAML driver, which this build leaves out (QAT_DRIVER=OFF); give the "
              "recipe as a dict or by name");
#endif
}

}  // namespace

void add_recipe(py::module_& module) {
  module.def("named_recipe", &named_recipe, py::arg("name"), "The named recipe as JSON.");
  module.def("check_recipe", &check_recipe, py::arg("json"), "The recipe as the engine reads it.");
  module.def("recipe_file", &recipe_file, py::arg("path"), "The recipe of a YAML file as JSON.");
}

}  // namespace qat::bindings
