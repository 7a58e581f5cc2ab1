// Bias correction: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
// Correction", section 4.2, with means measured on data. A layer is corrected with everything
// before it already corrected. The mean is that behind batch norm, where there is one: so a
// correction in the statistics is not made a second time.

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <unordered_map>

#include "ptq/layers.h"
#include "ptq/passes.h"
#include "ptq/ptq.h"

namespace qat::ptq {
namespace {

using Moments = std::unordered_map<std::string, ChannelMoments>;

bool correctable(const Layer& layer) {
  return layer.integer && (layer.bias.defined() || layer.batch_norm);
}

// shift: float64[C], to be added to the value behind batch norm.
void add_to_output(const Layer& layer, const at::Tensor& shift) {
  if (!layer.batch_norm) {
    layer.bias.detach().add_(shift.to(at::kFloat));
  } else if (layer.batch_norm->beta.defined()) {
    layer.batch_norm->beta.detach().add_(shift.to(at::kFloat));
  } else {
    layer.batch_norm->mean.sub_((shift / layer.batch_norm->gain()).to(at::kFloat));
  }
}

void measure(Engine& engine, Phase phase, const Batches& batches,
             const std::unordered_map<std::string, int64_t>& axes, Moments& moments) {
  std::vector<std::string> sites;
  for (const auto& [site, axis] : axes) sites.push_back(site);
  for (int64_t index = 0; index < batches.count; ++index) {
    forward(engine, phase, batches.at(index), sites,
            [&](const std::string& site, const at::Tensor& value) {
              moments[site].add(value, axes.at(site));
            });
  }
}

}  // namespace

std::vector<ChannelShift> correct_bias(PreparedModel& prepared, const Batches& batches,
                                       const Reference& reference) {
  const at::NoGradGuard no_grad;
  require_eval(prepared, "bias_correction");
  require_batches(batches, "bias_correction");
  Engine& engine = prepared.engine();
  const Layers layers(engine);
  std::unordered_map<std::string, int64_t> axes;
  for (const Layer& layer : layers.all()) {
    if (correctable(layer)) axes[layers.site_of(layer.result)] = layer.output_axis();
  }
  Moments wanted;
  {
    const ReferenceGuard guard(engine, reference);
    measure(engine, Phase::floating, batches, axes, wanted);
  }
  std::vector<ChannelShift> shifts;
  for (const Layer& layer : layers.all()) {
    if (!correctable(layer)) continue;
    const std::string& site = layers.site_of(layer.result);
    Moments found;
    measure(engine, Phase::qat, batches, {{site, layer.output_axis()}}, found);
    const at::Tensor shift = wanted.at(site).mean() - found.at(site).mean();
    add_to_output(layer, shift);
    shifts.push_back({layer.site, shift.abs().max().item<double>()});
  }
  return shifts;
}

}  // namespace qat::ptq
