#pragma once
// qat_runtime.h for C++17: objects instead of handles, qat::RuntimeError instead of statuses.

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "qat_runtime.h"

namespace qat {

class RuntimeError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

namespace detail {
inline void check(int status) {
  if (status != 0) throw RuntimeError(qat_error());
}
}  // namespace detail

// May be shared by threads. Copies share the model.
class RuntimeModel {
 public:
  static RuntimeModel load(const std::string& path) {
    qat_model* model = nullptr;
    detail::check(qat_model_load(path.c_str(), &model));
    return RuntimeModel(model);
  }
  static RuntimeModel load(const void* bytes, size_t size) {
    qat_model* model = nullptr;
    detail::check(qat_model_load_memory(bytes, size, &model));
    return RuntimeModel(model);
  }
  size_t inputs() const { return qat_model_input_count(get()); }
  size_t outputs() const { return qat_model_output_count(get()); }
  qat_tensor_info input(size_t index, int64_t batch) const {
    qat_tensor_info info;
    detail::check(qat_model_input_info(get(), index, batch, &info));
    return info;
  }
  qat_tensor_info output(size_t index, int64_t batch) const {
    qat_tensor_info info;
    detail::check(qat_model_output_info(get(), index, batch, &info));
    return info;
  }
  const qat_model* get() const { return model_.get(); }

 private:
  explicit RuntimeModel(qat_model* model) : model_(model, qat_model_free) {}
  std::shared_ptr<qat_model> model_;
};

// Used by one thread at a time.
class RuntimeContext {
 public:
  explicit RuntimeContext(const RuntimeModel& model, int threads = 0)
      : context_(nullptr, qat_context_free) {
    qat_context* context = nullptr;
    detail::check(qat_context_create(model.get(), threads, &context));
    context_.reset(context);
    inputs_ = model.inputs();
    outputs_ = model.outputs();
  }
  // Buffers of the caller, one per input and output, as qat_run has them.
  void run(int64_t batch, const std::vector<const void*>& inputs,
           const std::vector<void*>& outputs) {
    require("inputs", inputs.size(), inputs_);
    require("outputs", outputs.size(), outputs_);
    detail::check(qat_run(context_.get(), batch, inputs.data(), outputs.data()));
  }

 private:
  static void require(const char* what, size_t got, size_t expected) {
    if (got == expected) return;
    throw RuntimeError(std::string(what) + ": expected " + std::to_string(expected) +
                       " pointers, got " + std::to_string(got));
  }

  std::unique_ptr<qat_context, void (*)(qat_context*)> context_;
  size_t inputs_ = 0, outputs_ = 0;
};

}  // namespace qat
