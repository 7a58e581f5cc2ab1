#include "train/optimizer.h"

#include <torch/nn/utils/clip_grad.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

#include <map>

#include "error.h"

namespace qat::train {
namespace {

namespace optim = torch::optim;
using Kind = OptimizerSpec::Kind;

std::unique_ptr<optim::OptimizerOptions> options(const OptimizerSpec& spec, double decay) {
  const auto betas = std::make_tuple(spec.beta1, spec.beta2);
  if (spec.kind == Kind::sgd) {
    return std::make_unique<optim::SGDOptions>(optim::SGDOptions(spec.lr)
                                                   .momentum(spec.momentum)
                                                   .nesterov(spec.nesterov)
                                                   .weight_decay(decay));
  }
  if (spec.kind == Kind::adam) {
    return std::make_unique<optim::AdamOptions>(
        optim::AdamOptions(spec.lr).betas(betas).weight_decay(decay));
  }
  return std::make_unique<optim::AdamWOptions>(
      optim::AdamWOptions(spec.lr).betas(betas).weight_decay(decay));
}

template <typename State>
void dump_adam(const std::string& name, const optim::OptimizerParamState& state,
               NamedTensors& out) {
  const auto& adam = static_cast<const State&>(state);
  out.emplace_back(name + ".step", at::scalar_tensor(adam.step(), at::kLong));
  out.emplace_back(name + ".exp_avg", adam.exp_avg());
  out.emplace_back(name + ".exp_avg_sq", adam.exp_avg_sq());
}

using States = std::map<std::string, at::Tensor>;

template <typename State>
std::unique_ptr<optim::OptimizerParamState> load_adam(const std::string& name,
                                                      const States& states) {
  auto adam = std::make_unique<State>();
  adam->step(states.at(name + ".step").item<int64_t>());
  adam->exp_avg(states.at(name + ".exp_avg").clone());
  adam->exp_avg_sq(states.at(name + ".exp_avg_sq").clone());
  return adam;
}

}  // namespace

Optimizer::Optimizer(const OptimizerSpec& spec, NamedTensors parameters,
                     const NamedTensors& learned, const LearnedRecipe& recipe)
    : spec_(spec), parameters_(std::move(parameters)) {
  std::vector<at::Tensor> decayed, plain;
  for (const auto& [name, tensor] : parameters_) {
    (tensor.dim() > 1 ? decayed : plain).push_back(tensor);
  }
  std::vector<at::Tensor> scales;
  for (const auto& [name, tensor] : learned) {
    scales.push_back(tensor);
    parameters_.emplace_back("quantizer." + name, tensor);
  }
  std::vector<optim::OptimizerParamGroup> groups;
  const auto add = [&](const std::vector<at::Tensor>& tensors, double decay, double factor) {
    if (tensors.empty()) return;
    groups.emplace_back(tensors, options(spec, decay));
    rate_factors_.push_back(factor);
  };
  add(decayed, spec.weight_decay, 1.0);
  add(plain, 0.0, 1.0);
  add(scales, recipe.weight_decay, recipe.lr);
  if (spec.kind == Kind::sgd) {
    torch_ = std::make_unique<optim::SGD>(std::move(groups), optim::SGDOptions(spec.lr));
  } else if (spec.kind == Kind::adam) {
    torch_ = std::make_unique<optim::Adam>(std::move(groups));
  } else {
    torch_ = std::make_unique<optim::AdamW>(std::move(groups));
  }
}

void Optimizer::set_rate(double rate) {
  for (size_t i = 0; i < rate_factors_.size(); ++i) {
    torch_->param_groups()[i].options().set_lr(rate * rate_factors_[i]);
  }
}

double Optimizer::clip(double clip_norm) {
  if (clip_norm == 0) return 0;
  std::vector<at::Tensor> tensors;
  for (const auto& [name, tensor] : parameters_) tensors.push_back(tensor);
  return torch::nn::utils::clip_grad_norm_(tensors, clip_norm);
}

NamedTensors Optimizer::state() const {
  NamedTensors out;
  for (const auto& [name, tensor] : parameters_) {
    const auto found = torch_->state().find(tensor.unsafeGetTensorImpl());
    if (found == torch_->state().end()) continue;
    if (spec_.kind == Kind::sgd) {
      const auto& buffer = static_cast<optim::SGDParamState&>(*found->second).momentum_buffer();
      if (buffer.defined()) out.emplace_back(name + ".momentum_buffer", buffer);
    } else if (spec_.kind == Kind::adam) {
      dump_adam<optim::AdamParamState>(name, *found->second, out);
    } else {
      dump_adam<optim::AdamWParamState>(name, *found->second, out);
    }
  }
  return out;
}

void Optimizer::load(const NamedTensors& state) {
  const States states(state.begin(), state.end());
  const std::string probe = spec_.kind == Kind::sgd ? ".momentum_buffer" : ".exp_avg";
  for (const auto& [name, tensor] : parameters_) {
    const auto found = states.find(name + probe);
    if (found == states.end()) continue;  // a parameter that has had no gradient yet
    if (found->second.sizes() != tensor.sizes()) {
      throw Error("checkpoint: optimizer state of '" + name + "' has another shape than the model");
    }
    auto& slot = torch_->state()[tensor.unsafeGetTensorImpl()];
    if (spec_.kind == Kind::sgd) {
      auto sgd = std::make_unique<optim::SGDParamState>();
      sgd->momentum_buffer(found->second.clone());
      slot = std::move(sgd);
    } else if (spec_.kind == Kind::adam) {
      slot = load_adam<optim::AdamParamState>(name, states);
    } else {
      slot = load_adam<optim::AdamWParamState>(name, states);
    }
  }
}

}  // namespace qat::train
