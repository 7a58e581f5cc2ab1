#include "insert/weight_bank.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "insert/kept_state.h"
#include "insert/recompute.h"
#include "quantizers/calls.h"
#include "quantizers/cluster.h"
#include "quantizers/frozen.h"
#include "quantizers/number.h"
#include "quantizers/oscillation.h"

namespace qat::insert {
namespace {

std::unique_ptr<PruneMask> make_mask(const Recipe& recipe, const SiteCompression& compression,
                                     const WeightShape& shape) {
  if (compression.prune == PruneMethod::none) return nullptr;
  return std::make_unique<PruneMask>(recipe.prune, compression.prune, shape);
}

std::unique_ptr<WeightQuantizer> make_quantizer(const SitePlan& site,
                                                const SiteCompression& compression) {
  if (compression.values == 0) return make_weight_quantizer(site.weight, site.weight_shape);
  return make_cluster_quantizer(site.weight, site.weight_shape, compression.values,
                                compression.prune != PruneMethod::none);
}

// How the layer's weight comes out of a parameter: one that is cut out of it or computed from it is
// the layer's own.
enum class Reads { other, parameter, transposed };

Reads reads_of(const capture::Trace& trace, const capture::TraceNode& node) {
  size_t argument = 1;
  bool transposed = false;
  if (node.kind == capture::Kind::linear) {
    const auto plain = node.plain_arguments();
    const auto call = capture::parse_linear({node.op.schema(), plain.data()});
    argument = call.weight;
    transposed = call.weight_transposed;
  }
  const capture::TraceValue* value = &trace.values[node.arguments[argument].values.at(0)];
  if (value->source == capture::Source::node) {
    const capture::TraceNode& maker = trace.nodes[value->index];
    if (maker.op.schema().name() != "aten::t") return Reads::other;
    value = &trace.values[maker.inputs().at(0)];
    transposed = true;
  }
  if (value->source != capture::Source::parameter) return Reads::other;
  return transposed ? Reads::transposed : Reads::parameter;
}

}  // namespace

// A name for an entry's state that no other entry has: a parameter may be quantized in two ways.
std::string WeightBank::unused(const std::string& wanted, const std::string& other) const {
  const auto taken = [this](const std::string& name) {
    return std::any_of(entries_.begin(), entries_.end(),
                       [&](const Entry& entry) { return entry.name == name; });
  };
  if (!taken(wanted)) return wanted;
  std::string name = other;
  for (int k = 1; taken(name); ++k) name = other + "#" + std::to_string(k);
  return name;
}

WeightBank::WeightBank(const capture::Trace& trace, const Plan& plan, const Recipe& recipe)
    : entry_of_node_(trace.nodes.size(), -1) {
  for (size_t i = 0; i < trace.nodes.size(); ++i) {
    const auto& node = trace.nodes[i];
    const SitePlan& site = plan.sites[i];
    const bool layer = node.kind == capture::Kind::conv || node.kind == capture::Kind::linear;
    if (!layer || !site.integer) continue;
    const LayerCompression chosen = compression_of(trace, plan, recipe, static_cast<int64_t>(i));
    const SiteCompression& compression = chosen.site;
    const Reads reads = reads_of(trace, node);
    const bool direct = reads != Reads::other;
    std::string name = direct ? site.weight_parameter : node.name + ".weight";
    for (size_t k = 0; k < entries_.size() && entry_of_node_[i] < 0; ++k) {
      const Entry& known = entries_[k];
      const bool same = known.recipe == site.weight && known.shape == site.weight_shape &&
                        known.compression == compression;
      if (same && direct && known.name == name) entry_of_node_[i] = static_cast<int>(k);
    }
    if (entry_of_node_[i] >= 0) continue;
    name = unused(name, node.name + ".weight");
    entry_of_node_[i] = static_cast<int>(entries_.size());
    Entry entry{name,
                site.weight,
                site.weight_shape,
                compression,
                make_mask(recipe, compression, site.weight_shape),
                make_quantizer(site, compression),
                at::Tensor(),
                nullptr,
                reads == Reads::parameter && name == site.weight_parameter,
                std::nullopt};
    if (compression.prune == PruneMethod::channel) {
      pruned_channels_[static_cast<int64_t>(i)] = entry_of_node_[i];
      if (chosen.batch_norm >= 0) pruned_channels_[chosen.batch_norm] = entry_of_node_[i];
    }
    const at::Tensor scale = entry.quantizer->learned_scale();
    if (recipe.freeze.convergence > 0 && scale.defined()) {
      entry.convergence = std::make_shared<Convergence>(recipe.freeze.convergence, scale.numel());
    }
    if (recipe.oscillation.freeze > 0) {
      entry.quantizer = freeze_oscillations(std::move(entry.quantizer), recipe.oscillation,
                                            site.weight, site.weight_shape);
    }
    if (!entry.quantizer->state().empty()) entry.initialized = at::zeros({1}, at::kLong);
    entries_.push_back(std::move(entry));
  }
}

void WeightBank::stand_still() {
  for (const Entry& entry : entries_) {
    // Centroids of clusters are weights, which go on learning.
    if (entry.compression.values == 0) drop_gradients(entry.quantizer->state());
  }
}

void WeightBank::begin_forward(bool moves, bool frozen) {
  const KeptState kept;
  if (frozen) stand_still();
  for (Entry& entry : entries_) {
    const bool started = entry.convergence && number<int64_t>(entry.initialized) != 0;
    if (moves && started) {
      const at::Tensor scale = entry.quantizer->learned_scale().to(at::kDouble);
      entry.convergence->see(scale, scale);
    }
    if (started && entry.convergence->reached()) drop_gradients(entry.quantizer->state());
  }
}

bool WeightBank::Ahead::holds(const at::Tensor& given, WeightMode asked) const {
  return given.is_same(weight) && given.const_data_ptr() == data && !given.is_inference() &&
         given._version() == version && asked == mode;
}

void WeightBank::forget_ahead() {
  for (Entry& entry : entries_) entry.ahead.reset();
}

void WeightBank::quantize_ahead(const std::vector<int>& wanted, const ForwardRecord& record,
                                WeightMode mode) {
  const auto& places = record.tensors->places;
  std::vector<Entry*> entries;
  std::vector<at::Tensor> weights;
  std::vector<PlainWeight> options;
  for (const int index : wanted) {
    Entry& entry = entries_.at(static_cast<size_t>(index));
    const auto found = places.find(entry.name);
    const auto plain = entry.direct && !entry.mask ? entry.quantizer->plain(mode) : std::nullopt;
    if (!plain || found == places.end()) continue;
    const at::Tensor& weight = record.alive[found->second];
    const bool fits = weight.scalar_type() == at::kFloat && !weight.is_inference() &&
                      weight.sizes() == at::IntArrayRef(entry.shape.sizes);
    if (!fits) continue;
    entries.push_back(&entry);
    weights.push_back(weight);
    options.push_back(*plain);
    entry.ahead = Ahead{weight, weight.const_data_ptr(), weight._version(), mode, {}};
  }
  if (entries.empty()) return;
  // Codes have no derivative; without the guard each weight would have to be detached.
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  auto made = quantizers::call::quantize_weights(weights, options);
  for (size_t i = 0; i < entries.size(); ++i) entries[i]->ahead->quantized = std::move(made[i]);
}

WeightOutcome WeightBank::quantize(int index, const at::Tensor& given, WeightMode mode) {
  Entry& entry = entries_.at(static_cast<size_t>(index));
  if (entry.ahead) {
    const Ahead ahead = std::move(*entry.ahead);
    entry.ahead.reset();
    if (ahead.holds(given, mode)) return {ahead.quantized, given};
  }
  if (entry.mask && mode.training) entry.mask->update(given);
  const at::Tensor weight = entry.mask ? entry.mask->apply(given) : given;
  if (entry.initialized.defined() && number<int64_t>(entry.initialized) == 0) {
    const KeptState kept;
    entry.quantizer->initialize(weight.detach());
    entry.initialized.fill_(1);
  }
  if (entry.convergence && entry.convergence->reached()) mode.learn = false;
  WeightOutcome outcome = entry.quantizer->quantize(weight, mode);
  if (entry.mask) entry.mask->require_zero(outcome.quantized.codes);
  return outcome;
}

at::Tensor WeightBank::masked(int entry, const at::Tensor& weight) const {
  const auto& mask = entries_.at(static_cast<size_t>(entry)).mask;
  return mask ? mask->apply(weight) : weight;
}

void WeightBank::step(double fraction) {
  for (const Entry& entry : entries_) {
    if (entry.mask) entry.mask->step(fraction);
  }
}

at::Tensor WeightBank::kept_channels(int64_t node, const at::Tensor& per_channel) const {
  const auto pruned = pruned_channels_.find(node);
  if (pruned == pruned_channels_.end() || !per_channel.defined()) return per_channel;
  const at::Tensor gone = entries_[static_cast<size_t>(pruned->second)].mask->channels() == 0;
  return per_channel.masked_fill(gone.to(per_channel.device()), 0.0);
}

NamedTensors WeightBank::state() const {
  NamedTensors all;
  for (const Entry& entry : entries_) {
    if (entry.mask) {
      for (const auto& [name, tensor] : entry.mask->state()) {
        all.emplace_back(entry.name + "." + name, tensor);
      }
    }
    for (const auto& [name, tensor] : entry.quantizer->state()) {
      all.emplace_back(entry.name + "." + name, tensor);
    }
    if (entry.convergence) {
      for (const auto& [name, tensor] : entry.convergence->state()) {
        all.emplace_back(entry.name + "." + name, tensor);
      }
    }
    if (entry.initialized.defined()) {
      all.emplace_back(entry.name + ".initialized", entry.initialized);
    }
  }
  return all;
}

}  // namespace qat::insert
