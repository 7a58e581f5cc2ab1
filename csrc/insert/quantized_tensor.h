#pragma once
// An activation on its way through a planned forward: to the model an ordinary float32 tensor, in
// memory integer codes, or a chain of operators that has not been evaluated yet.

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <memory>
#include <optional>
#include <vector>

#include "capture/site_keys.h"
#include "insert/mode.h"
#include "numerics/activation.h"
#include "numerics/format.h"
#include "numerics/qparams.h"
#include "quantizers/recipe.h"

namespace qat::insert {

// Integer codes of one tensor. scale: float32[1], zero_point: int32[1], as the operators take
// them; params: the same on the host.
struct Codes {
  at::Tensor codes;  // uint8 or int8, the nominal sizes; 4-d ones channels-last in memory
  numerics::QuantParams params;
  numerics::IntFormat format;
  at::Tensor scale, zero_point;
};

// Batch norm inside a chain, as bn_act_quantize_backward wants it.
struct ChainBatchNorm {
  at::Tensor gamma, beta;                       // the user's parameters, or undefined
  at::Tensor xhat_multiplier, xhat_bias, gain;  // float32[C]
  bool through_statistics = false;
};

struct ConvGeometry {
  std::vector<int64_t> stride, padding, dilation, output_padding;
  int64_t groups = 1;
  bool transposed = false;
};

using SharedGeometry = std::shared_ptr<const ConvGeometry>;

// How a chain's accumulator was made, for making it again.
struct LayerSource {
  at::Tensor codes, weight;
  int64_t zero_point = 0;
  SharedGeometry geometry;  // nullptr: a linear layer
  at::Tensor accumulate() const;
};

// act(acc * multiplier[c] + bias[c] + residual), not evaluated yet (docs/numerics.md, 7 to 10).
struct Chain {
  at::Tensor acc;               // float32
  at::Tensor multiplier, bias;  // float32[C] or undefined
  int64_t axis = 1;             // of the channels
  at::Tensor source;            // carries the gradient with respect to acc * multiplier + bias
                                // before batch norm
  std::optional<ChainBatchNorm> batch_norm;
  at::Tensor residual;            // QuantizedTensor of codes, or a real tensor; undefined: none
  uint32_t residual_version = 0;  // of a real one, as the chain has to read it
  numerics::Activation activation;
  at::Tensor slope;  // PReLU
  SavedValue save = SavedValue::float32;
  std::optional<LayerSource> layer;  // set where save is recompute
  // Note [Compact chains]: what the residual can be made again from, and a place for what the first
  // of two that need it left of this chain.
  std::shared_ptr<const Chain> residual_chain;
  std::shared_ptr<Chain> compact;
  bool plain() const {
    return !batch_norm && !residual.defined() && !slope.defined() &&
           activation.kind == numerics::ActivationKind::none;
  }
};

struct ForwardRecord;  // insert/recompute.h

// The chain of a real value alone. real: float32.
Chain real_chain(at::Tensor real);

// An autograd node to compare with, whose address is not reused meanwhile; empty: no history.
class NodeMark {
 public:
  static NodeMark of(const at::Tensor& tensor);     // its grad_fn
  bool is_node_of(const at::Tensor& tensor) const;  // still its grad_fn

 private:
  struct Reference;
  std::shared_ptr<const Reference> reference_;
};

// Quantized tensors that to the model share memory. A write through one outdates the others.
struct AliasGroup {
  int64_t writes = 0;
};

// The real tensor of a payload, kept for further readers.
struct RealCache {
  at::Tensor tensor;
  uint32_t version = 0;    // when it was evaluated
  bool past_node = false;  // its history leaves out the tensor's own node
  int64_t region = 0;      // Note [Recomputation]
  NodeMark below;          // grad_fn of the tensor it was evaluated from
};

// Exactly one of codes and chain is set. Immutable but for the cached real tensor; an in-place
// operator replaces the whole payload.
struct Payload {
  std::optional<Codes> codes;
  std::optional<Chain> chain;
  RealCache real;
  // The autograd node that made the tensor, empty without history. A tensor with another grad_fn
  // (the result of a custom function, a detached copy) has the payload's value, not its history.
  NodeMark node;
  bool node_known = false;
  std::shared_ptr<AliasGroup> aliases;  // nullptr: no alias
  int64_t writes_seen = 0;
  capture::Ancestor ancestor;                   // where the value comes from
  std::shared_ptr<const ForwardRecord> record;  // of the forward that made it
};

// A new tensor that the model sees as float32 with these sizes and strides.
at::Tensor make_quantized_tensor(std::shared_ptr<Payload> payload, at::IntArrayRef sizes,
                                 at::IntArrayRef strides, c10::Device device);

// Counts in-place writes; 0 for inference tensors, which have no counter.
uint32_t version_of(const at::Tensor& tensor);

// The payload, or nullptr for any other tensor.
Payload* payload_of(const at::Tensor& tensor);

// Remembers which node made a fresh result.
void note_history(const at::Tensor& tensor);
// A longer chain may be differentiated past the tensor's own node: its gradient flows there and
// nobody has put a hook on it.
bool can_reach_past(const at::Tensor& tensor);

// Makes `view` an alias of `base`.
void share_memory(const at::Tensor& view, const at::Tensor& base);

// What an in-place operator does to a quantized tensor: takes over payload and history of `from`.
void replace_contents(const at::Tensor& self, const at::Tensor& from);
void replace_with_real(const at::Tensor& self, const at::Tensor& real);

// Somebody else holds memory of the tensor's real values (a view, a saved tensor).
bool has_real_views(const at::Tensor& tensor);

// Takes in what was written through a real view of the tensor. Throws qat::Error where an alias
// has been written that the tensor cannot follow.
void refresh(const at::Tensor& tensor);

// A real float32 tensor with the same value and history; any other tensor is returned as it is.
at::Tensor realize(const at::Tensor& tensor);

// The same for an operator's argument: a tensor, or a list of them.
void realize_argument(c10::IValue& value);

// Makes every quantized argument real and calls the operator. An in-place operator leaves its
// result in the quantized tensor it was called on.
void call_on_real_tensors(const c10::OperatorHandle& op, torch::jit::Stack& stack);

}  // namespace qat::insert
