#include "insert/quantized_tensor.h"

#include <ATen/core/ivalue.h>
#include <c10/core/TensorImpl.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/variable.h>

#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include "error.h"
#include "insert/mode.h"
#include "insert/nodes.h"

namespace qat::insert {
namespace {

class QuantizedTensorImpl final : public c10::TensorImpl {
 public:
  QuantizedTensorImpl(std::shared_ptr<Payload> payload, at::IntArrayRef sizes,
                      at::IntArrayRef strides, c10::Device device)
      : TensorImpl(
            c10::DispatchKeySet(device.is_cuda() ? c10::DispatchKey::CUDA : c10::DispatchKey::CPU) |
                c10::DispatchKeySet(kModeKey),
            caffe2::TypeMeta::Make<float>(), device),
        payload_(std::move(payload)) {
    set_storage_access_should_throw();
    set_sizes_and_strides(sizes, strides);
  }

  c10::intrusive_ptr<TensorImpl> shallow_copy_and_detach(
      const c10::VariableVersion& version_counter, bool allow_change) const override {
    return copy_with(c10::VariableVersion(version_counter), allow_change);
  }
  c10::intrusive_ptr<TensorImpl> shallow_copy_and_detach(c10::VariableVersion&& version_counter,
                                                         bool allow_change) const override {
    return copy_with(std::move(version_counter), allow_change);
  }

  std::shared_ptr<Payload> payload_;

 private:
  const char* tensorimpl_type_name() const override { return "qat::QuantizedTensorImpl"; }

  c10::intrusive_ptr<TensorImpl> copy_with(c10::VariableVersion version_counter,
                                           bool allow_change) const {
    auto copy = c10::make_intrusive<QuantizedTensorImpl>(payload_, sizes(), strides(), device());
    copy->set_version_counter(std::move(version_counter));
    copy->set_allow_tensor_metadata_change(allow_change);
    return copy;
  }
};

// The real tensor with the history of the tensor itself: a pending chain is differentiated from its
// source only where nobody comes between.
at::Tensor evaluate_from(const at::Tensor& tensor) {
  const Payload& payload = *payload_of(tensor);
  if (payload.codes || !payload.chain->source.defined()) return evaluate(tensor);
  if (can_reach_past(tensor)) return evaluate(tensor);
  Chain value;
  {
    at::NoGradGuard no_grad;
    value.acc = evaluate(tensor);
  }
  value.source = tensor;
  return make_real(std::move(value), Nominal::like(tensor));
}

void keep_real(const at::Tensor& tensor, const at::Tensor& real, bool past_node) {
  payload_of(tensor)->real = {real, version_of(real), past_node, current_region(),
                              NodeMark::of(tensor)};
}

// A weak pointer to an autograd node. torch counts nodes with shared_ptr up to 2.11, later with
// intrusive_ptr.
template <typename Pointer>
struct WeakNode;

template <typename Node>
struct WeakNode<std::shared_ptr<Node>> {
  explicit WeakNode(const std::shared_ptr<Node>& node) : pointer(node) {}
  std::weak_ptr<Node> pointer;
  bool is(const std::shared_ptr<Node>& node) const {
    return !pointer.owner_before(node) && !node.owner_before(pointer);
  }
};

template <typename Node>
struct WeakNode<c10::intrusive_ptr<Node>> {
  explicit WeakNode(const c10::intrusive_ptr<Node>& node) : pointer(node) {}
  c10::weak_intrusive_ptr<Node> pointer;
  bool is(const c10::intrusive_ptr<Node>& node) const {
    return pointer._unsafe_get_target() == node.get();
  }
};

bool has_hooks(const at::Tensor& tensor) {
  namespace impl = torch::autograd::impl;
  if (impl::get_autograd_meta(tensor) == nullptr) return false;
  return !impl::hooks(tensor).empty() || tensor.retains_grad();
}

QuantizedTensorImpl* impl_of(const at::Tensor& tensor) {
  // The class is final, so its type is all there is to compare; few other tensors hold the key.
  auto* impl = tensor.unsafeGetTensorImpl();
  const bool quantized =
      impl->key_set().has(kModeKey) && typeid(*impl) == typeid(QuantizedTensorImpl);
  return quantized ? static_cast<QuantizedTensorImpl*>(impl) : nullptr;
}

// The tensor written by an in-place operator, when that is a quantized one.
at::Tensor written_argument(const c10::FunctionSchema& schema, const c10::IValue& value,
                            size_t index) {
  const auto* alias = schema.arguments()[index].alias_info();
  if (alias == nullptr || !alias->isWrite() || !value.isTensor()) return {};
  return payload_of(value.toTensor()) != nullptr ? value.toTensor() : at::Tensor{};
}

}  // namespace

uint32_t version_of(const at::Tensor& tensor) {
  return tensor.is_inference() ? 0 : tensor._version();
}

Chain real_chain(at::Tensor real) {
  Chain chain;
  chain.acc = real.detach();
  chain.source = std::move(real);
  return chain;
}

at::Tensor make_quantized_tensor(std::shared_ptr<Payload> payload, at::IntArrayRef sizes,
                                 at::IntArrayRef strides, c10::Device device) {
  return at::detail::make_tensor<QuantizedTensorImpl>(std::move(payload), sizes, strides, device);
}

Payload* payload_of(const at::Tensor& tensor) {
  auto* impl = impl_of(tensor);
  return impl != nullptr ? impl->payload_.get() : nullptr;
}

struct NodeMark::Reference {
  using Pointer = std::remove_cvref_t<decltype(std::declval<at::Tensor>().grad_fn())>;
  explicit Reference(const Pointer& pointer) : node(pointer) {}
  WeakNode<Pointer> node;
};

NodeMark NodeMark::of(const at::Tensor& tensor) {
  NodeMark mark;
  if (const auto& node = tensor.grad_fn()) {
    mark.reference_ = std::make_shared<const Reference>(node);
  }
  return mark;
}

bool NodeMark::is_node_of(const at::Tensor& tensor) const {
  const auto& node = tensor.grad_fn();
  if (reference_ == nullptr || node == nullptr) return reference_ == nullptr && node == nullptr;
  return reference_->node.is(node);
}

void note_history(const at::Tensor& tensor) {
  Payload* payload = payload_of(tensor);
  if (payload == nullptr || payload->node_known) return;
  payload->node_known = true;
  payload->node = NodeMark::of(tensor);
}

bool can_reach_past(const at::Tensor& tensor) {
  if (tensor.is_leaf() && tensor.requires_grad()) return false;  // made one by somebody
  return payload_of(tensor)->node.is_node_of(tensor) && !has_hooks(tensor);
}

void share_memory(const at::Tensor& view, const at::Tensor& base) {
  Payload *of_view = payload_of(view), *of_base = payload_of(base);
  if (of_view == nullptr || of_base == nullptr) return;
  if (of_base->aliases == nullptr) of_base->aliases = std::make_shared<AliasGroup>();
  of_view->aliases = of_base->aliases;
  of_view->writes_seen = of_base->writes_seen;
}

void replace_contents(const at::Tensor& self, const at::Tensor& from) {
  auto* to = impl_of(self);
  const auto aliases = to->payload_->aliases;
  const auto record = to->payload_->record;
  to->payload_ = impl_of(from)->payload_;
  if (aliases != nullptr) {
    to->payload_->aliases = aliases;
    to->payload_->writes_seen = ++aliases->writes;
  }
  to->payload_->record = record;
  if (from.requires_grad()) {
    torch::autograd::impl::set_gradient_edge(self, torch::autograd::impl::gradient_edge(from));
  }
  note_history(from);
  self.unsafeGetTensorImpl()->bump_version();
}

bool has_real_views(const at::Tensor& tensor) {
  const Payload* payload = payload_of(tensor);
  if (payload == nullptr || !payload->real.tensor.defined()) return false;
  const auto& storage = payload->real.tensor.storage();
  const bool own = payload->chain && payload->chain->acc.storage().is_alias_of(storage);
  return storage.use_count() > (own ? 2u : 1u);
}

void refresh(const at::Tensor& tensor) {
  Payload* payload = payload_of(tensor);
  if (payload == nullptr) return;
  if (payload->aliases != nullptr && payload->aliases->writes != payload->writes_seen) {
    throw Error(
        "forward: an operator reads a quantized activation after an in-place operator changed a "
        "view of it (or what it is a view of). Use the out-of-place operator, or clone() first.");
  }
  const at::Tensor real = payload->real.tensor;
  if (!real.defined() || version_of(real) == payload->real.version) return;
  const capture::Ancestor ancestor = payload->ancestor;
  replace_with_real(tensor, real);
  payload_of(tensor)->ancestor = ancestor;
}

void replace_with_real(const at::Tensor& self, const at::Tensor& real) {
  replace_contents(self, wrap_real(real));
  keep_real(self, real, /*past_node=*/true);
}

at::Tensor realize(const at::Tensor& tensor) {
  Payload* payload = payload_of(tensor);
  if (payload == nullptr) return tensor;
  refresh(tensor);
  payload = payload_of(tensor);
  const bool history = at::GradMode::is_enabled() && tensor.requires_grad();
  const RealCache& known = payload->real;
  if (known.tensor.defined() && known.region == current_region()) {
    // A tensor cached without history does not serve a reader that differentiates.
    const bool same_path = known.below.is_node_of(tensor);
    const bool all_hooks = !known.past_node || !has_hooks(tensor);
    if (history && known.tensor.requires_grad() && same_path && all_hooks) return known.tensor;
    if (!history) return tensor.requires_grad() ? known.tensor : known.tensor.detach();
  }
  const bool past_node = payload->chain && payload->chain->source.defined();
  const at::Tensor real = evaluate_from(tensor);
  keep_real(tensor, real, past_node && can_reach_past(tensor));
  return real;
}

void realize_argument(c10::IValue& value) {
  if (value.isTensor()) {
    if (payload_of(value.toTensor()) != nullptr) value = realize(value.toTensor());
  } else if (value.isTensorList()) {
    auto list = value.toTensorVector();
    for (auto& tensor : list) tensor = realize(tensor);
    value = c10::List<at::Tensor>(list);
  } else if (value.isList()) {  // Tensor?[]
    auto list = value.toList();
    for (size_t i = 0; i < list.size(); ++i) {
      const c10::IValue item = list.get(i);
      if (item.isTensor() && payload_of(item.toTensor()) != nullptr) {
        list.set(i, realize(item.toTensor()));
      }
    }
  }
}

void call_on_real_tensors(const c10::OperatorHandle& op, torch::jit::Stack& stack) {
  const auto& schema = op.schema();
  const size_t count = schema.arguments().size();
  const size_t first = stack.size() - count;
  at::Tensor written;
  for (size_t i = 0; i < count; ++i) {
    c10::IValue& value = stack[first + i];
    const at::Tensor target = written_argument(schema, value, i);
    if (target.defined()) written = target;
    realize_argument(value);
  }
  op.callBoxed(&stack);
  if (!written.defined() || stack.empty() || !stack.back().isTensor()) return;
  replace_with_real(written, stack.back().toTensor());
  stack.back() = written;
}

}  // namespace qat::insert
