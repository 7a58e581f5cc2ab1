// What is registered in a Python model: modules, parameters, buffers and their names.

#include <torch/csrc/autograd/python_variable.h>

#include <string>
#include <unordered_set>
#include <vector>

#include "bindings/bindings.h"
#include "error.h"

namespace qat::bindings {

namespace py = pybind11;

namespace {

struct Entry {
  py::object name;                  // of a string; none marks the end of a register
  const PyObject* value = nullptr;  // never dereferenced: it may be gone
  const c10::TensorImpl* tensor = nullptr;
  bool first = false;  // a module that was not met before on the way
};

// Tensor: torch.utils.swap_tensors puts another one under the same object.
const c10::TensorImpl* tensor_of(PyObject* value) {
  auto* type = reinterpret_cast<PyTypeObject*>(THPVariableClass);
  if (!PyObject_TypeCheck(value, type)) return nullptr;
  return THPVariable_Unpack(value).unsafeGetTensorImpl();
}

// A register of a module as a plain dict in the order of its iteration. A copy only where it is of
// a class of its own, as in models that older versions of torch saved: PyDict_Next does not see the
// order of an OrderedDict.
py::object plain_register(const py::object& attributes, PyObject* key, PyObject* module) {
  PyObject* found = PyDict_GetItemWithError(attributes.ptr(), key);
  if (found == nullptr || !PyDict_Check(found)) {
    throw Error("forward: submodules: expected modules that keep a dict '" +
                py::cast<std::string>(key) + "', got one of type '" + Py_TYPE(module)->tp_name +
                "'; register nn.Modules whose __init__ calls that of nn.Module, not compiled ones");
  }
  if (PyDict_CheckExact(found)) return py::reinterpret_borrow<py::object>(found);
  PyObject* type = reinterpret_cast<PyObject*>(&PyDict_Type);
  py::object copy = py::reinterpret_steal<py::object>(PyObject_CallOneArg(type, found));
  if (!copy) throw py::error_already_set();
  return copy;
}

struct Keys {
  PyObject* parameters = PyUnicode_InternFromString("_parameters");
  PyObject* buffers = PyUnicode_InternFromString("_buffers");
  PyObject* modules = PyUnicode_InternFromString("_modules");
};

// Calls visitor.entry(name, value) for everything registered in the module and visitor.end() after
// each register, until one returns false; enters the modules for which visitor.enter() holds.
template <typename Visitor>
bool walk(PyObject* module, Visitor& visitor) {
  static const Keys keys;
  const auto attributes =
      py::reinterpret_steal<py::object>(PyObject_GenericGetDict(module, nullptr));
  if (!attributes) throw py::error_already_set();
  for (PyObject* key : {keys.parameters, keys.buffers, keys.modules}) {
    const py::object entries = plain_register(attributes, key, module);
    PyObject* name = nullptr;
    PyObject* value = nullptr;
    for (Py_ssize_t place = 0; PyDict_Next(entries.ptr(), &place, &name, &value) != 0;) {
      if (!visitor.entry(name, value)) return false;
      if (key != keys.modules || value == Py_None || !visitor.enter()) continue;
      const auto held = py::reinterpret_borrow<py::object>(value);
      if (!walk(held.ptr(), visitor)) return false;
    }
    if (!visitor.end()) return false;
  }
  return true;
}

class Recorder {
 public:
  // root may be registered below itself.
  Recorder(std::vector<Entry>& entries, PyObject* root) : entries_(entries), met_{root} {}
  bool entry(PyObject* name, PyObject* value) {
    const bool first = met_.insert(value).second;
    entries_.push_back({py::reinterpret_borrow<py::object>(name), value, tensor_of(value), first});
    return true;
  }
  bool enter() const { return entries_.back().first; }
  bool end() {
    entries_.emplace_back();
    return true;
  }

 private:
  std::vector<Entry>& entries_;
  std::unordered_set<const PyObject*> met_;
};

// Names are the same object nearly always; two strings that compare equal run no Python code.
bool same_name(PyObject* left, PyObject* right) {
  if (left == right) return true;
  return PyUnicode_CheckExact(left) && PyUnicode_CheckExact(right) &&
         PyUnicode_Compare(left, right) == 0;
}

class Comparison {
 public:
  explicit Comparison(const std::vector<Entry>& entries) : next_(entries.data()) {}
  bool entry(PyObject* name, PyObject* value) {
    const Entry& seen = *next_;
    if (!seen.name || value != seen.value || !same_name(name, seen.name.ptr())) return false;
    if (tensor_of(value) != seen.tensor) return false;
    ++next_;
    return true;
  }
  bool enter() const { return (next_ - 1)->first; }
  bool end() { return !(next_++)->name; }

 private:
  const Entry* next_;
};

// Names and addresses, which keep nothing of the model alive. All that changed() compares is
// reached from the model as it is now: a freed object's address that another one took over stands
// for the other one, at the same place under the same name, which is what was seen.
class Contents {
 public:
  explicit Contents(const py::object& model) : model_(model.ptr()) {
    Recorder recorder(seen_, model.ptr());
    walk(model.ptr(), recorder);
  }
  bool changed(const py::object& model) const {
    if (model.ptr() != model_) return true;
    Comparison comparison(seen_);
    return !walk(model.ptr(), comparison);
  }

 private:
  const PyObject* model_;
  std::vector<Entry> seen_;
};

}  // namespace

void add_contents(py::module_& module) {
  py::class_<Contents>(
      module, "Contents",
      "What is registered in a model's modules, by address: nothing is kept alive.")
      .def(py::init<const py::object&>(), py::arg("model"))
      .def("changed", &Contents::changed, py::arg("model"),
           "Whether something else is registered now, or under another name.");
}

}  // namespace qat::bindings
