#include "train/sensitivity.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "error.h"
#include "quantizers/weight_common.h"
#include "train/loss.h"

namespace qat::train {
namespace {

using Progress = std::function<void(int64_t done, int64_t of)>;

bool wanted(const BitGroup& group, const SensitivityOptions& options) {
  return options.ends || !group.end;
}

int64_t count_wanted(const Sensitivities& table, const SensitivityOptions& options) {
  return std::count_if(table.groups.begin(), table.groups.end(),
                       [&](const auto& one) { return wanted(one.group, options); });
}

void measure_losses(PostTraining& models, const SensitivityOptions& options, BatchSource& rows,
                    const Progress& progress, Sensitivities& table) {
  std::vector<BitGroup> groups;
  for (const auto& one : table.groups) groups.push_back(one.group);
  const auto all = count_wanted(table, options) * static_cast<int64_t>(options.bits.size());
  int64_t done = 0;
  for (size_t i = 0; i < groups.size(); ++i) {
    if (!wanted(groups[i], options)) continue;
    for (const int bits : options.bits) {
      progress(done++, all);
      std::vector<int> chosen(groups.size(), kMostBits);
      chosen[i] = bits;
      const double loss =
          bits == kMostBits
              ? table.eight_bit_loss
              : models.evaluate(with_bits(models.base(), groups, chosen), rows).loss();
      table.groups[i].values.push_back(loss - table.eight_bit_loss);
    }
  }
}

at::Tensor parameter_of(const Session& session, const GroupWeight& weight,
                        const std::string& site) {
  for (const auto& [name, tensor] : parameters_of(*session.network)) {
    if (name == weight.parameter) return tensor;
  }
  throw Error("sensitivity: the weight of " + site +
              " is computed from parameters and has no Hessian of its own; use --method loss");
}

struct WeightOfGroup {
  size_t group;
  const GroupWeight* weight;
  at::Tensor value;
};

std::vector<WeightOfGroup> weights_of(const Session& session, const Sensitivities& table,
                                      const SensitivityOptions& options) {
  std::vector<WeightOfGroup> all;
  for (size_t i = 0; i < table.groups.size(); ++i) {
    const BitGroup& group = table.groups[i].group;
    if (!wanted(group, options)) continue;
    for (const GroupWeight& weight : group.weights) {
      all.push_back({i, &weight, parameter_of(session, weight, group.sites.front())});
    }
  }
  return all;
}

void add_weight(const WeightOfGroup& weight, const TraceEstimate& found,
                const std::vector<int>& bits, GroupSensitivity& to) {
  to.values.resize(bits.size(), 0.0);
  TraceEstimate sum = to.trace.value_or(TraceEstimate{});
  sum.trace += found.trace;
  sum.standard_error = std::hypot(sum.standard_error, found.standard_error);
  to.trace = sum;
  const double mean = found.trace / static_cast<double>(weight.weight->numel());
  for (size_t k = 0; k < bits.size(); ++k) {
    const WeightRecipe recipe = weight.weight->recipe.with_bits(bits[k]);
    to.values[k] += mean * quantization_error(weight.value, recipe, weight.weight->shape);
  }
}

void estimate_traces(PostTraining& models, const SensitivityOptions& options, BatchSource& rows,
                     const Progress& progress, Sensitivities& table) {
  const Session& session = models.session();
  const std::vector<WeightOfGroup> all = weights_of(session, table, options);
  std::vector<at::Tensor> values;
  for (const WeightOfGroup& one : all) values.push_back(one.value);
  session.network->eval();
  const auto loss = [&](int64_t index) {
    progress(index, rows.batches());
    const Batch batch = rows.batch(0, index);
    const double share =
        static_cast<double>(batch.targets.size(0)) / static_cast<double>(table.rows);
    return classification_loss(session.network->forward(batch.inputs), batch.targets, 0.0) * share;
  };
  const auto traces =
      hessian_traces(values, rows.batches(), loss,
                     {.samples = options.samples, .seed = static_cast<uint64_t>(session.job.seed)});
  for (size_t i = 0; i < all.size(); ++i) {
    add_weight(all[i], traces[i], options.bits, table.groups[all[i].group]);
  }
}

}  // namespace

double quantization_error(const at::Tensor& parameter, const WeightRecipe& recipe,
                          const WeightShape& shape) {
  const at::NoGradGuard no_grad;
  at::Tensor weight = parameter.detach();
  // A matrix that the layer multiplies from the right: [C, K].
  if (weight.sizes() != at::IntArrayRef(shape.sizes)) weight = weight.t().contiguous();
  const auto quantizer = make_weight_quantizer(recipe, shape);
  quantizer->initialize(weight);
  const QuantizedWeight codes = quantizer->quantize(weight, {}).quantized;
  const at::Tensor rounded = codes.codes.to(at::kFloat) * quantizers::spread(codes.scale, shape);
  return (weight - rounded).to(at::kDouble).square().sum().item<double>();
}

Sensitivities measure_sensitivities(PostTraining& models, const SensitivityOptions& options,
                                    const Progress& progress) {
  const bool hessian = options.method == SensitivityMethod::hessian;
  if (hessian && options.activations) {
    throw Error(
        "sensitivity: the Hessian is that of the weights; use --method loss for bits of "
        "activations");
  }
  const ValidationRows rows = validation_rows(models.session(), options.rows);
  Sensitivities table;
  table.method = options.method;
  table.bits = options.bits;
  table.rows = rows.rows;
  table.float_loss = models.evaluate_float(*rows.batches).loss();
  table.eight_bit_loss = models.evaluate(models.base(), *rows.batches).loss();
  for (BitGroup& group : bit_groups(models.model(), options.activations)) {
    table.groups.push_back({std::move(group), {}, {}});
  }
  (hessian ? estimate_traces : measure_losses)(models, options, *rows.batches, progress, table);
  return table;
}

}  // namespace qat::train
