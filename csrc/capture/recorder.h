#pragma once
// The handler that writes a Trace.

#include <exception>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "capture/site_keys.h"
#include "capture/trace.h"
#include "insert/mode.h"

namespace qat::capture {

class Recorder final : public insert::Handler {
 public:
  Recorder(const NamedTensors& tensors, const TensorList& inputs);
  void handle(const c10::OperatorHandle& op, torch::jit::Stack& stack) override;
  // The error that ended the recording, as it was thrown here: on its way through the model's own
  // code (Python) an exception changes its type.
  std::exception_ptr failure() const { return failure_; }
  Trace finish(const TensorList& outputs);

 private:
  void record(const c10::OperatorHandle& op, torch::jit::Stack& stack);
  int64_t value_of(const at::Tensor& tensor, const TraceNode* user);
  int64_t new_value(const at::Tensor& tensor, TraceValue value);
  TraceArgument argument(const c10::IValue& value, const TraceNode& node);
  void name_node(TraceNode& node);
  void record_outputs(TraceNode& node, const torch::jit::Stack& stack, const at::Tensor& written);
  int64_t twin_of(const at::Tensor& tensor) const;
  bool is_scratch(const at::Tensor& written) const;
  void forget_aliases(const at::Tensor& written);
  void retire_aliases(const at::Tensor& written);
  std::string unique_name(const std::string& wanted);

  Trace trace_;
  SiteKeys keys_;
  std::unordered_map<const c10::TensorImpl*, std::string> parameter_names_;
  std::unordered_map<const c10::TensorImpl*, int64_t> ids_;
  std::vector<Ancestor> ancestors_;            // per value
  std::vector<std::string> value_module_;      // per ancestor's order: the module's name
  std::vector<bool> overwritten_;              // per value: its memory was written through an alias
  std::vector<at::Tensor> alive_;              // addresses must not be reused while recording
  std::vector<at::Tensor> twins_;              // nor those of their copies
  std::set<const c10::StorageImpl*> scratch_;  // written by the forward itself
  std::map<std::string, int64_t> names_;
  std::exception_ptr failure_;
};

}  // namespace qat::capture
