#pragma once
// Nodes of autograd's graph.
//
// Note [Nodes of their own type]
// torch::autograd::Function makes a node out of any two functions. It keeps what backward needs in
// a map of boxed values by name, looks through all arguments for tensors and wraps the result: 15
// thousand instructions for a node, three times what the operators of a small layer take. Here a
// derivative is a struct whose members are what backward needs, and GradientNode<Derivative> its
// node:
//
//   struct Derivative {
//     static constexpr const char* kName = "...";        // of grad_fn
//     template <typename F> void tensors(F f);           // f(at::Tensor&) for all that it keeps
//     // One gradient for each operand, undefined where none is wanted.
//     variable_list operator()(const variable_list& grads, const Wanted& wanted) const;
//   };
//
// Its tensors are handed to SavedTensors, so that hooks on saved tensors (activation checkpointing,
// offloading) get them and a write in place is found out. A gradient that nobody supplied is zero:
// with none at all there are none for the operands either, as in torch's own nodes.

#include <ATen/core/Tensor.h>
#include <c10/util/ArrayRef.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>

#include <algorithm>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace qat::insert {

using torch::autograd::variable_list;
using Operands = c10::ArrayRef<const at::Tensor*>;  // undefined: absent

// Whether a gradient of one of these has to be recorded. Throws for what has no derivative here:
// transforms of torch.func and tangents of forward mode.
bool wants_gradient(Operands operands);

// Which operands' gradients the present backward asks for.
class Wanted {
 public:
  explicit Wanted(const torch::autograd::Node& node) : node_(node) {}
  bool operator()(size_t operand) const { return node_.task_should_compute_output(operand); }

 private:
  const torch::autograd::Node& node_;
};

// The tensors of a derivative between forward and backward.
class SavedTensors {
 public:
  template <typename Derivative>
  void take(Derivative& derivative) {
    size_t count = 0, place = 0;
    derivative.tensors([&](const at::Tensor& tensor) { count += tensor.defined() ? 1 : 0; });
    tensors_.reserve(count);
    derivative.tensors([&](at::Tensor& tensor) { keep(tensor, place++); });
  }
  // Throws where they are released already.
  template <typename Derivative>
  Derivative give(const Derivative& taken) const {
    check_available();
    Derivative derivative = taken;
    size_t next = 0, place = 0;
    derivative.tensors([&](at::Tensor& tensor) {
      if (next < tensors_.size() && tensors_[next].place == place) {
        tensor = tensors_[next++].tensor.unpack();
      }
      ++place;
    });
    return derivative;
  }
  void release();

 private:
  struct Saved {
    size_t place;
    torch::autograd::SavedVariable tensor;
  };
  void keep(at::Tensor& tensor, size_t place);
  void check_available() const;

  std::vector<Saved> tensors_;  // the defined ones
  bool released_ = false;
};

// Called by every backward. The operators in there have no derivative, so that with create_graph a
// quantized part of a gradient penalty would silently count as constant.
void require_first_order();
// Called where compiled autograd wants to trace a node.
[[noreturn]] void refuse_compilation();

// Where torch counts nodes intrusively (after 2.11), weak references keep an object whose last
// owner is gone, and it has to let go of what it holds.
template <typename Base>
struct ReleasingNode : Base {
  using Base::Base;
  virtual void release_saved() = 0;
};

template <typename Base>
requires requires(Base& base) { base.release_resources(); }
struct ReleasingNode<Base> : Base {
  using Base::Base;
  virtual void release_saved() = 0;
  void release_resources() override {
    Base::release_resources();
    release_saved();
  }
};

template <typename Derivative>
class GradientNode final : public ReleasingNode<torch::autograd::Node> {
 public:
  GradientNode(Derivative derivative, torch::autograd::edge_list edges)
      : ReleasingNode<torch::autograd::Node>(std::move(edges)), derivative_(std::move(derivative)) {
    saved_.take(derivative_);
  }
  std::string name() const override { return Derivative::kName; }
  void release_variables() override {
    const std::lock_guard lock(mutex_);
    saved_.release();
  }
  void release_saved() override { saved_.release(); }
  void compiled_args(torch::dynamo::autograd::CompiledNodeArgs&) const override {
    refuse_compilation();
  }

 private:
  variable_list apply(variable_list&& grads) override {
    const std::lock_guard lock(mutex_);
    require_first_order();
    const Derivative derivative = saved_.give(derivative_);
    const bool any = std::any_of(grads.begin(), grads.end(),
                                 [](const at::Tensor& grad) { return grad.defined(); });
    if (!any) return variable_list(num_outputs());
    return derivative(grads, Wanted(*this));
  }

  Derivative derivative_;  // but for its tensors
  SavedTensors saved_;
};

template <typename N, typename... Args>
auto make_node(Args&&... args) {
  if constexpr (std::is_base_of_v<c10::intrusive_ptr_target, N>) {
    return c10::make_intrusive<N>(std::forward<Args>(args)...);
  } else {
    const auto destroy = [](N* node) { deleteNode(node); };  // torch's, not recursive
    return std::shared_ptr<N>(new N(std::forward<Args>(args)...), destroy);
  }
}

torch::autograd::edge_list edges_to(Operands operands);

// Gives fresh results their history.
template <typename Derivative>
void attach(c10::ArrayRef<at::Tensor> results, Derivative derivative, Operands operands) {
  const auto node = make_node<GradientNode<Derivative>>(std::move(derivative), edges_to(operands));
  for (const at::Tensor& result : results) torch::autograd::set_history(result, node);
}

// A fresh result with its history.
template <typename Derivative>
at::Tensor attached(at::Tensor result, Derivative derivative, Operands operands) {
  attach({result}, std::move(derivative), operands);
  return result;
}

}  // namespace qat::insert
