// Running statistics of batch norm in the quantized model (Sun et al., "Hybrid 8-bit Floating
// Point Training and Inference", NeurIPS 2019, section 3.3, re-tune them after quantization).
//
// One pass: the values that a batch norm is about to normalise are seen before it reads its
// statistics, so what is known of them so far is written there and then. The layers behind it meet
// values normalised almost as they will be.

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <unordered_map>

#include "ptq/layers.h"
#include "ptq/passes.h"
#include "ptq/ptq.h"

namespace qat::ptq {
namespace {

struct Statistics {
  const Layer* layer;
  ChannelMoments moments;
  at::Tensor mean, deviation;  // before
};

// Of the running means, in standard deviations.
double largest_shift(const Statistics& statistics) {
  const at::Tensor now = statistics.layer->batch_norm->mean.to(at::kDouble);
  return ((now - statistics.mean) / statistics.deviation).abs().max().item<double>();
}

}  // namespace

std::vector<ChannelShift> reestimate_batch_norm(PreparedModel& prepared, const Batches& batches) {
  const at::NoGradGuard no_grad;
  require_eval(prepared, "batch_norm");
  require_batches(batches, "batch_norm");
  Engine& engine = prepared.engine();
  const Layers layers(engine);
  std::vector<std::string> sites;
  std::unordered_map<std::string, Statistics> of_site;
  for (const Layer& layer : layers.all()) {
    if (!layer.batch_norm) continue;
    const BatchNorm& norm = *layer.batch_norm;
    sites.push_back(layer.site);
    of_site[layer.site] = {&layer,
                           {},
                           norm.mean.detach().to(at::kDouble).clone(),
                           (norm.variance.detach().to(at::kDouble) + norm.eps).sqrt()};
  }
  if (sites.empty()) return {};
  for (int64_t index = 0; index < batches.count; ++index) {
    forward(engine, Phase::qat, batches.at(index), sites,
            [&](const std::string& site, const at::Tensor& value) {
              auto& [layer, moments, mean, deviation] = of_site.at(site);
              moments.add(value, 1);
              layer->batch_norm->mean.copy_(moments.mean());
              layer->batch_norm->variance.copy_(moments.variance());
            });
  }
  std::vector<ChannelShift> shifts;
  for (const std::string& site : sites) shifts.push_back({site, largest_shift(of_site.at(site))});
  return shifts;
}

}  // namespace qat::ptq
