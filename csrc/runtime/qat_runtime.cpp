// The C interface: handles, statuses and the error text of each thread.

#include "runtime/qat_runtime.h"

#include <exception>
#include <limits>
#include <memory>
#include <string>

#include "checkpoint/checkpoint.h"
#include "error.h"
#include "runtime/fast_executor.h"
#include "runtime/self_test.h"
#include "runtime/tensors.h"

namespace {

using qat::Error;
using qat::graph::Graph;
using qat::graph::Value;
namespace runtime = qat::runtime;

struct Loaded {
  Graph graph;
  std::unique_ptr<runtime::FastExecutor> executor;
  std::vector<std::string> output_names;
  const char* instruction_set = "";
};

thread_local std::string last_error;

// Never throws: the text of an error that does not fit in memory is dropped.
void remember(const char* text) noexcept {
  try {
    last_error = text;
  } catch (...) {
    last_error.clear();
  }
}

template <typename Body>
int guarded(const Body& body) noexcept {
  try {
    body();
    return 0;
  } catch (const std::bad_alloc&) {
    remember("out of memory");
  } catch (const std::exception& error) {
    remember(error.what());
  } catch (...) {
    remember("unknown error");
  }
  return 1;
}

void require(const void* pointer, const char* function, const char* argument) {
  if (pointer != nullptr) return;
  throw Error(std::string(function) + ": " + argument + ": expected a pointer, got null");
}

void require_batch(const char* function, int64_t batch) {
  if (batch >= 0) return;
  throw Error(std::string(function) + ": batch: expected 0 or more, got " + std::to_string(batch));
}

void refuse_aten(const Graph& graph, const std::string& origin) {
  for (const qat::graph::Node& node : graph.nodes) {
    const auto* aten = std::get_if<qat::graph::AtenAttributes>(&node.attributes);
    if (aten == nullptr) continue;
    throw Error(origin + ": node '" + node.name + "' needs the operator " + aten->schema +
                " of torch, which libqat_runtime does not have; run this model with qat_ext");
  }
}

std::shared_ptr<const Loaded> make(const qat::graph::Model& model, const std::string& origin) {
  refuse_aten(model.graph, origin);
  auto loaded = std::make_shared<Loaded>();
  const auto set = runtime::trusted_instruction_set();
  loaded->graph = model.graph;
  loaded->executor = runtime::make_fast_executor(model, {}, set);
  loaded->instruction_set = qat::kernels::u8s8::to_string(set);
  for (size_t i = 0; i < model.graph.outputs.size(); ++i) {
    const bool named = !model.graph.output_names.empty();
    const auto value = static_cast<size_t>(model.graph.outputs[i]);
    loaded->output_names.push_back(named ? model.graph.output_names[i]
                                         : model.graph.values[value].name);
  }
  return loaded;
}

qat_type type_of(runtime::TensorType type) {
  switch (type) {
    case runtime::TensorType::int64:
      return QAT_INT64;
    case runtime::TensorType::boolean:
      return QAT_BOOL;
    case runtime::TensorType::uint8:
      return QAT_UINT8;
    case runtime::TensorType::int8:
      return QAT_INT8;
    case runtime::TensorType::float32:
      break;
  }
  return QAT_FLOAT32;
}

qat_tensor_info info_of(const Value& value, bool is_input, int64_t batch) {
  const bool quantized_by_us = is_input && value.type == qat::graph::ElementType::codes;
  const auto type = quantized_by_us ? runtime::TensorType::float32 : runtime::storage_type(value);
  qat_tensor_info info{type_of(type), value.shape.size(), {}, qat::graph::element_size(type)};
  if (info.rank > QAT_MAX_RANK) {
    throw Error("tensor '" + value.name + "': expected rank 8 or less, got " +
                std::to_string(info.rank));
  }
  for (size_t i = 0; i < info.rank; ++i) {
    info.shape[i] = value.shape[i].at(batch);
    if (info.shape[i] < 0 ||
        __builtin_mul_overflow(info.bytes, static_cast<size_t>(info.shape[i]), &info.bytes)) {
      throw Error("tensor '" + value.name + "': no size at batch " + std::to_string(batch));
    }
  }
  return info;
}

const Value& value_at(const char* function, const Graph& graph, const std::vector<int64_t>& list,
                      size_t index) {
  if (index < list.size()) return graph.values[static_cast<size_t>(list[index])];
  throw Error(std::string(function) + ": index: expected less than " + std::to_string(list.size()) +
              ", got " + std::to_string(index));
}

}  // namespace

struct qat_model {
  std::shared_ptr<const Loaded> loaded;
};

struct qat_context {
  std::shared_ptr<const Loaded> loaded;
  int threads;
};

extern "C" {

const char* qat_error(void) { return last_error.c_str(); }

int qat_model_load(const char* path, qat_model** model) {
  return guarded([&] {
    require(path, "qat_model_load", "path");
    require(model, "qat_model_load", "model");
    *model = new qat_model{make(qat::checkpoint::load(path), path)};
  });
}

int qat_model_load_memory(const void* bytes, size_t size, qat_model** model) {
  return guarded([&] {
    require(bytes, "qat_model_load_memory", "bytes");
    require(model, "qat_model_load_memory", "model");
    const std::string text(static_cast<const char*>(bytes), size);
    *model = new qat_model{make(qat::checkpoint::parse(text, "memory"), "memory")};
  });
}

void qat_model_free(qat_model* model) { delete model; }

size_t qat_model_input_count(const qat_model* model) {
  return model == nullptr ? 0 : model->loaded->graph.inputs.size();
}

size_t qat_model_output_count(const qat_model* model) {
  return model == nullptr ? 0 : model->loaded->graph.outputs.size();
}

const char* qat_model_input_name(const qat_model* model, size_t index) {
  if (index >= qat_model_input_count(model)) return nullptr;
  const Graph& graph = model->loaded->graph;
  return graph.values[static_cast<size_t>(graph.inputs[index])].name.c_str();
}

const char* qat_model_output_name(const qat_model* model, size_t index) {
  if (index >= qat_model_output_count(model)) return nullptr;
  return model->loaded->output_names[index].c_str();
}

int qat_model_input_info(const qat_model* model, size_t index, int64_t batch,
                         qat_tensor_info* info) {
  return guarded([&] {
    require(model, "qat_model_input_info", "model");
    require(info, "qat_model_input_info", "info");
    require_batch("qat_model_input_info", batch);
    const Graph& graph = model->loaded->graph;
    *info = info_of(value_at("qat_model_input_info", graph, graph.inputs, index), true, batch);
  });
}

int qat_model_output_info(const qat_model* model, size_t index, int64_t batch,
                          qat_tensor_info* info) {
  return guarded([&] {
    require(model, "qat_model_output_info", "model");
    require(info, "qat_model_output_info", "info");
    require_batch("qat_model_output_info", batch);
    const Graph& graph = model->loaded->graph;
    *info = info_of(value_at("qat_model_output_info", graph, graph.outputs, index), false, batch);
  });
}

const char* qat_model_instruction_set(const qat_model* model) {
  return model == nullptr ? "" : model->loaded->instruction_set;
}

int qat_context_create(const qat_model* model, int threads, qat_context** context) {
  return guarded([&] {
    require(model, "qat_context_create", "model");
    require(context, "qat_context_create", "context");
    if (threads < 0) {
      throw Error("qat_context_create: threads: expected 0 or more, got " +
                  std::to_string(threads));
    }
    *context = new qat_context{model->loaded, threads};
  });
}

void qat_context_free(qat_context* context) { delete context; }

int qat_run(qat_context* context, int64_t batch, const void* const* inputs, void* const* outputs) {
  return guarded([&] {
    require(context, "qat_run", "context");
    require(inputs, "qat_run", "inputs");
    require(outputs, "qat_run", "outputs");
    require_batch("qat_run", batch);
    const Graph& graph = context->loaded->graph;
    const auto name = [](const char* list, size_t i) {
      return std::string(list) + "[" + std::to_string(i) + "]";
    };
    // Empty tensors need no memory.
    for (size_t i = 0; i < graph.inputs.size(); ++i) {
      const Value& value = value_at("qat_run", graph, graph.inputs, i);
      if (info_of(value, true, batch).bytes > 0) {
        require(inputs[i], "qat_run", name("inputs", i).c_str());
      }
    }
    for (size_t i = 0; i < graph.outputs.size(); ++i) {
      const Value& value = value_at("qat_run", graph, graph.outputs, i);
      if (info_of(value, false, batch).bytes > 0) {
        require(outputs[i], "qat_run", name("outputs", i).c_str());
      }
    }
    context->loaded->executor->run_on(batch, inputs, outputs, context->threads);
  });
}

}  // extern "C"
