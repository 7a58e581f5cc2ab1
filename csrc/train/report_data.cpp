#include "train/report_data.h"

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "numerics/qparams.h"
#include "numerics/quantize.h"

namespace qat::train {
namespace {

using Json = nlohmann::json;

struct WeightLayer {
  std::string weight;
  numerics::IntFormat format;
};

const WeightLayer* weight_layer(const graph::Attributes& attributes, WeightLayer& storage) {
  if (const auto* conv = std::get_if<graph::ConvAttributes>(&attributes)) {
    if (conv->transposed) return nullptr;  // its channels are not an axis of the weight
    storage = {conv->weight, conv->weight_format};
    return &storage;
  }
  if (const auto* linear = std::get_if<graph::LinearAttributes>(&attributes)) {
    storage = {linear->weight, linear->weight_format};
    return &storage;
  }
  return nullptr;
}

// Signal-to-noise ratio of the codes of one weight against the float weight they stand for, in dB,
// each channel with the scale that fits best: the file has it only multiplied by others.
Json weight_snr(const at::Tensor& weight, const int8_t* codes) {
  const at::Tensor rows = weight.detach().contiguous().flatten(1);
  const int64_t channels = rows.size(0), size = rows.size(1);
  const float* values = rows.const_data_ptr<float>();
  double signal = 0, noise = 0;
  for (int64_t c = 0; c < channels; ++c) {
    double squares = 0, products = 0, code_squares = 0;
    for (int64_t i = c * size; i < (c + 1) * size; ++i) {
      squares += static_cast<double>(values[i]) * values[i];
      products += static_cast<double>(values[i]) * codes[i];
      code_squares += static_cast<double>(codes[i]) * codes[i];
    }
    signal += squares;
    noise += std::max(0.0, squares - (code_squares == 0 ? 0 : products * products / code_squares));
  }
  if (noise == 0 || signal == 0) return nullptr;
  return 10.0 * std::log10(signal / noise);
}

// "fc" of "fc_1": the node of a module that other nodes came from too is numbered.
std::string module_of(const std::string& node) {
  const auto end = node.find_last_not_of("0123456789");
  const bool numbered = end != std::string::npos && end + 1 < node.size() && node[end] == '_';
  return numbered ? node.substr(0, end) : node;
}

Json layers(const ReportInputs& inputs) {
  std::map<std::string, at::Tensor> weights;
  for (const auto& [name, tensor] : tensors_of(*inputs.session.network)) weights[name] = tensor;
  Json list = Json::array();
  for (const auto& node : inputs.model.graph.nodes) {
    WeightLayer storage;
    const WeightLayer* layer = weight_layer(node.attributes, storage);
    if (!layer) continue;
    Json row = {{"name", node.name},
                {"operator", graph::operator_name(node.attributes)},
                {"bits", layer->format.bits},
                {"weight_snr_db", nullptr}};
    const auto codes = inputs.model.tensors.find(layer->weight);
    auto weight = weights.find(node.name + ".weight");
    if (weight == weights.end()) weight = weights.find(module_of(node.name) + ".weight");
    if (codes != inputs.model.tensors.end() && weight != weights.end() &&
        codes->second.numel() == weight->second.numel()) {
      row["weight_snr_db"] = weight_snr(weight->second, codes->second.data<int8_t>());
    }
    list.push_back(row);
  }
  return list;
}

Json signals(const std::vector<SiteSignal>& sites) {
  Json list = Json::array();
  for (const SiteSignal& site : sites) {
    const double ratio = site.signal_to_noise_db;
    list.push_back({{"name", site.site},
                    {"snr_db", std::isfinite(ratio) ? Json(ratio) : Json(nullptr)},
                    {"low", site.min},
                    {"high", site.max}});
  }
  return list;
}

double code_value(const graph::Value& value, int32_t code) {
  return numerics::dequantize(code, value.qparams.zero_point, value.qparams.scale);
}

Json ranges(const graph::Model& model) {
  Json list = Json::array();
  for (const auto& value : model.graph.values) {
    if (value.type != graph::ElementType::codes) continue;
    list.push_back({{"name", value.name},
                    {"low", code_value(value, value.format.quant_min())},
                    {"high", code_value(value, value.format.quant_max())},
                    {"scale", value.qparams.scale},
                    {"zero_point", value.qparams.zero_point}});
  }
  return list;
}

Json figures(const Evaluation& evaluation) {
  Json classes = Json::array();
  for (const auto& row : evaluation.per_class()) {
    classes.push_back({{"precision", row.precision},
                       {"recall", row.recall},
                       {"f1", row.f1},
                       {"samples", row.samples}});
  }
  return {{"accuracy", evaluation.accuracy()},
          {"loss", evaluation.loss()},
          {"samples", evaluation.samples()},
          {"classes", classes}};
}

// null: the job has no `adversarial`.
Json robustness(const Summary& summary) {
  if (!summary.robustness) return nullptr;
  const AttackSpec& attack = summary.robustness->attack;
  return {{"attack", "pgd"},
          {"epsilon", attack.epsilon},
          {"steps", attack.steps},
          {"float_accuracy", summary.robustness->float_accuracy},
          {"int8_accuracy", summary.robustness->int8_accuracy}};
}

Json history(const std::string& path) {
  Json rows = Json::array();
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) rows.push_back(Json::parse(line));
  return rows;
}

}  // namespace

Json report_data(const ReportInputs& inputs) {
  Json latency = Json::array();
  for (const auto& row : inputs.latency) {
    latency.push_back({{"batch", row.batch}, {"float_ms", row.float_ms}, {"int8_ms", row.int8_ms}});
  }
  const Summary& summary = inputs.summary;
  const DataSet& data = inputs.session.data;
  return {{"job", inputs.session.job.name},
          {"seed", inputs.session.job.seed},
          {"dataset",
           {{"digest", data.digest},
            {"train", data.train.targets.size(0)},
            {"validation", data.validation.targets.size(0)},
            {"test", data.test.targets.size(0)}}},
          {"recipe", inputs.session.job.recipe.name},
          {"float", figures(inputs.before)},
          {"int8", figures(inputs.after)},
          {"verify",
           {{"logits", summary.logits},
            {"differing_logits", summary.differing},
            {"differing_parameters", summary.differing_parameters},
            {"first_difference", summary.first_difference}}},
          {"size",
           {{"float_bytes", inputs.float_bytes},
            {"int8_bytes", inputs.int8_bytes},
            {"ratio", summary.size_ratio}}},
          {"robustness", robustness(summary)},
          {"integer_fraction", inputs.integer_fraction},
          {"latency", latency},
          {"layers", layers(inputs)},
          {"ranges", ranges(inputs.model)},
          {"signals", signals(inputs.signals)},
          {"history", history(inputs.metrics_path)}};
}

}  // namespace qat::train
