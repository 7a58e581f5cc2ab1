// Values at named sites of a forward, with their history.

#include <ATen/SavedTensorHooks.h>

#include <algorithm>
#include <map>

#include "error.h"
#include "insert/engine.h"
#include "nearest.h"

namespace qat {
namespace {

// Checkpointing counts what a part of the forward saves; a tap is not evaluated again in backward.
class UnseenByHooks {
 public:
  UnseenByHooks() : previous_(at::SavedTensorDefaultHooks::set_tracing(true)) {}
  ~UnseenByHooks() { at::SavedTensorDefaultHooks::set_tracing(previous_); }
  UnseenByHooks(const UnseenByHooks&) = delete;
  UnseenByHooks& operator=(const UnseenByHooks&) = delete;

 private:
  bool previous_;
};

// A tensor of its own: an operator that writes in place may follow, and the codes or the pending
// chain must stay what the next operator meets.
at::Tensor value_of(const at::Tensor& result) {
  const UnseenByHooks unseen;
  const insert::Payload* payload = insert::payload_of(result);
  if (payload == nullptr) return result.clone();
  if (payload->codes || insert::can_reach_past(result)) return insert::evaluate(result);
  return insert::realize(result).clone();
}

std::string some_of(const std::vector<std::string>& names) {
  constexpr size_t kShown = 8;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i) {
    text += (i == 0 ? "'" : ", '") + names[i] + "'";
  }
  return text + (names.size() > kShown ? " and others" : "");
}

void require_sites(const std::vector<std::string>& wanted, const std::vector<std::string>& known) {
  for (const std::string& site : wanted) {
    if (std::find(known.begin(), known.end(), site) != known.end()) continue;
    const auto near = nearest(site, known);
    throw Error("taps: there is no site '" + site + "'; " +
                (near ? "did you mean '" + *near + "'?" : "sites() lists " + some_of(known)));
  }
}

// Sends the results of a forward's sites to a function, until destroyed.
class TapGuard {
 public:
  using Tap = std::function<void(const std::string& site, const at::Tensor& result)>;
  TapGuard(Engine& engine, Tap tap) : engine_(engine) { engine_.tap = std::move(tap); }
  ~TapGuard() { engine_.tap = nullptr; }
  TapGuard(const TapGuard&) = delete;
  TapGuard& operator=(const TapGuard&) = delete;

 private:
  Engine& engine_;
};

}  // namespace

void insert::Session::offer(const Call& call, const Results& results) const {
  if (!tap || call.site == nullptr || results.empty()) return;
  tap(call.name(), results[0]);
}

std::vector<std::string> PreparedModel::sites() const {
  std::vector<std::string> names;
  for (const auto& node : engine_->trace.nodes) {
    const bool depends = std::any_of(node.outputs.begin(), node.outputs.end(), [&](int64_t id) {
      return engine_->trace.values[id].depends_on_input;
    });
    if (depends) names.push_back(node.name);
  }
  return names;
}

TappedOutputs PreparedModel::forward_with_taps(const TensorList& inputs,
                                               const std::vector<std::string>& sites) {
  require_sites(sites, this->sites());
  std::map<std::string, at::Tensor> values;
  for (const std::string& site : sites) values[site];
  TappedOutputs all;
  {
    const TapGuard guard(*engine_, [&](const std::string& site, const at::Tensor& result) {
      const auto wanted = values.find(site);
      if (wanted != values.end()) wanted->second = value_of(result);
    });
    all.outputs = engine_->forward(inputs);
  }
  for (const std::string& site : sites) {
    if (!values[site].defined()) throw Error("taps: this forward did not pass '" + site + "'");
    all.taps.push_back(values[site]);
  }
  return all;
}

}  // namespace qat
