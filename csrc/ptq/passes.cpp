#include "ptq/passes.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <unordered_map>

#include "error.h"
#include "insert/nodes.h"

namespace qat::ptq {
namespace {

class EngineGuard {
 public:
  EngineGuard(Engine& engine, Phase phase)
      : engine_(engine), phase_(engine.phase()), fraction_(engine.fraction.item<double>()) {
    engine_.set_phase(phase);
    engine_.fraction.fill_(1.0);  // everything quantized, with the final number of bits
  }
  ~EngineGuard() {
    engine_.tap = nullptr;
    engine_.fraction.fill_(fraction_);
    engine_.set_phase(phase_);
  }
  EngineGuard(const EngineGuard&) = delete;
  EngineGuard& operator=(const EngineGuard&) = delete;

 private:
  Engine& engine_;
  Phase phase_;
  double fraction_;
};

}  // namespace

void require_eval(PreparedModel& prepared, const char* step) {
  if (!prepared.access().is_training()) return;
  throw Error(std::string(step) + ": the model is in training mode; call eval() first");
}

void require_batches(const Batches& batches, const char* step) {
  if (batches.count > 0) return;
  throw Error(std::string(step) + ": batches: expected at least one batch, got none");
}

void forward(Engine& engine, Phase phase, const TensorList& inputs,
             const std::vector<std::string>& wanted, const Tap& tap) {
  const EngineGuard guard(engine, phase);
  engine.tap = [&](const std::string& site, const at::Tensor& result) {
    if (std::find(wanted.begin(), wanted.end(), site) == wanted.end()) return;
    tap(site, insert::payload_of(result) != nullptr ? insert::evaluate(result) : result.detach());
  };
  engine.forward(inputs);
}

ReferenceGuard::ReferenceGuard(Engine& engine, const Reference& reference) {
  if (reference.empty()) return;
  const std::unordered_map<std::string, at::Tensor> values(reference.begin(), reference.end());
  std::vector<std::pair<at::Tensor, at::Tensor>> pairs;
  for (const auto& [name, tensor] : engine.access.tensors()) {
    const auto found = values.find(name);
    if (found == values.end()) continue;
    if (found->second.sizes() != tensor.sizes()) {
      throw Error("reference: '" + name + "': expected the shape of the model's tensor, got " +
                  std::to_string(found->second.numel()) + " values for " +
                  std::to_string(tensor.numel()));
    }
    pairs.emplace_back(tensor.detach(), found->second);
  }
  // Nothing throws any more: what is overwritten is put back.
  for (const auto& [tensor, value] : pairs) {
    saved_.emplace_back(tensor, tensor.clone());
    tensor.copy_(value);
  }
}

ReferenceGuard::~ReferenceGuard() {
  const at::NoGradGuard no_grad;
  for (auto& [tensor, copy] : saved_) tensor.copy_(copy);
}

Reference remember(PreparedModel& prepared) {
  const at::NoGradGuard no_grad;
  Reference all;
  for (const auto& [name, tensor] : prepared.access().tensors()) {
    all.emplace_back(name, tensor.detach().clone());
  }
  return all;
}

// Chan, Golub, LeVeque 1979: merging two samples without their sums of squares.
void ChannelMoments::add(const at::Tensor& values, int64_t axis) {
  const at::Tensor rows = values.detach().movedim(axis, 0).flatten(1).to(at::kDouble);
  const auto n = static_cast<double>(rows.size(1));
  if (n == 0) return;
  const at::Tensor mean = rows.mean(1);
  const at::Tensor squares = (rows - mean.unsqueeze(1)).square().sum(1);
  if (count_ == 0) {
    mean_ = mean;
    squares_ = squares;
  } else {
    const at::Tensor apart = mean - mean_;
    squares_ = squares_ + squares + apart.square() * (count_ * n / (count_ + n));
    mean_ = mean_ + apart * (n / (count_ + n));
  }
  count_ += n;
}

at::Tensor ChannelMoments::variance() const { return squares_ / std::max(count_ - 1, 1.0); }

}  // namespace qat::ptq
