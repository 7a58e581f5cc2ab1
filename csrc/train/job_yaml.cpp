#include <nlohmann/json.hpp>
#include <type_traits>

#include "train/job.h"

namespace qat::train {
namespace {

using Json = nlohmann::ordered_json;

Json model_json(const ModelSpec& model) {
  return std::visit(
      [](const auto& spec) -> Json {
        using Spec = std::decay_t<decltype(spec)>;
        if constexpr (std::is_same_v<Spec, MlpSpec>) {
          return {{"name", "mlp"}, {"hidden", spec.hidden}, {"dropout", spec.dropout}};
        } else if constexpr (std::is_same_v<Spec, ResNetSpec>) {
          return {{"name", "resnet"}, {"depth", spec.depth}, {"width", spec.width}};
        } else if constexpr (std::is_same_v<Spec, MobileNetV2Spec>) {
          return {{"name", "mobilenet_v2"},
                  {"width", spec.width},
                  {"small_stem", spec.small_stem},
                  {"dropout", spec.dropout}};
        } else {
          return {{"name", "vit"},          {"patch", spec.patch}, {"dim", spec.dim},
                  {"depth", spec.depth},    {"heads", spec.heads}, {"mlp_dim", spec.mlp_dim},
                  {"dropout", spec.dropout}};
        }
      },
      model);
}

Json source_json(const DataSource& source) {
  return std::visit(
      [](const auto& spec) -> Json {
        using Spec = std::decay_t<decltype(spec)>;
        if constexpr (std::is_same_v<Spec, FashionMnistSpec>) {
          return {{"name", "fashion_mnist"}, {"root", spec.root}};
        } else if constexpr (std::is_same_v<Spec, IdxSpec>) {
          return {{"name", "idx"},
                  {"train_images", spec.train_images},
                  {"train_labels", spec.train_labels},
                  {"test_images", spec.test_images},
                  {"test_labels", spec.test_labels}};
        } else if constexpr (std::is_same_v<Spec, CsvSpec>) {
          return {{"name", "csv"},
                  {"train", spec.train},
                  {"test", spec.test},
                  {"label", spec.label},
                  {"header", spec.header}};
        } else {
          return {{"name", "safetensors"}, {"train", spec.train}, {"test", spec.test}};
        }
      },
      source);
}

Json data_json(const DataSpec& spec) {
  Json json = source_json(spec.source);
  json["batch"] = spec.batch;
  json["limit"] = spec.limit;
  json["validation"] = spec.validation;
  json["classes"] = spec.classes;
  if (!spec.mean.empty()) {
    json["mean"] = spec.mean;
    json["std"] = spec.std;
  }
  json["augment"] = {{"flip", spec.flip}, {"shift", spec.shift}};
  return json;
}

Json optimizer_json(const OptimizerSpec& spec) {
  static const char* const names[] = {"sgd", "adam", "adamw"};
  Json json = {{"name", names[static_cast<int>(spec.kind)]},
               {"lr", spec.lr},
               {"weight_decay", spec.weight_decay}};
  if (spec.kind == OptimizerSpec::Kind::sgd) {
    json["momentum"] = spec.momentum;
    json["nesterov"] = spec.nesterov;
  } else {
    json["betas"] = {spec.beta1, spec.beta2};
  }
  return json;
}

Json schedule_json(const ScheduleSpec& spec) {
  using Kind = ScheduleSpec::Kind;
  static const char* const names[] = {"constant", "cosine", "step", "one_cycle"};
  Json json = {{"name", names[static_cast<int>(spec.kind)]}};
  if (spec.kind == Kind::cosine || spec.kind == Kind::one_cycle) {
    json["warmup"] = spec.warmup;
    json["start"] = spec.start;
    json["end"] = spec.end;
  } else if (spec.kind == Kind::step) {
    json["every"] = spec.every;
    json["gamma"] = spec.gamma;
  }
  return json;
}

Json phase_json(const PhaseSpec& spec) {
  return {{"epochs", spec.epochs},
          {"optimizer", optimizer_json(spec.optimizer)},
          {"schedule", schedule_json(spec.schedule)},
          {"clip_norm", spec.clip_norm},
          {"label_smoothing", spec.label_smoothing},
          {"amp", spec.bfloat16 ? "bfloat16" : "none"}};
}

Json calibrate_json(const CalibrateSpec& spec) {
  Json json = {{"batches", spec.batches}};
  if (spec.steps.empty()) return json;
  json["steps"] = Json::array();
  for (const ptq::Step step : spec.steps) {
    json["steps"].push_back(ptq::kStepNames[static_cast<int>(step)]);
    if (step != ptq::Step::adaround) continue;
    const ptq::AdaroundOptions& options = spec.adaround;
    json["adaround"] = {{"iterations", options.iterations},
                        {"lr", options.lr},
                        {"regularizer", options.regularizer},
                        {"beta_start", options.beta_start},
                        {"beta_end", options.beta_end},
                        {"warmup", options.warmup},
                        {"batch", options.batch},
                        {"samples", options.samples}};
  }
  return json;
}

Json distill_json(const DistillSpec& spec) {
  Json json = {
      {"teacher", spec.teacher}, {"temperature", spec.temperature}, {"weight", spec.weight}};
  Json features = Json::array();
  for (const auto& feature : spec.features) {
    features.push_back({{"site", feature.site}, {"weight", feature.weight}});
  }
  if (!features.empty()) json["features"] = features;
  return json;
}

Json adversarial_json(const AdversarialSpec& spec) {
  const AttackSpec& attack = spec.attack;
  const bool pgd = attack.method == AttackSpec::Method::pgd;
  Json json = {{"method", pgd ? "pgd" : "fgsm"}, {"epsilon", attack.epsilon}};
  if (pgd) {
    json["steps"] = attack.steps;
    json["step"] = attack.step;
    json["random_start"] = attack.random_start;
  }
  json["weight"] = spec.weight;
  json["phases"] = Json::array();
  if (spec.in_float) json["phases"].push_back("float");
  if (spec.in_qat) json["phases"].push_back("qat");
  return json;
}

// Maps in block style; everything else as JSON, which is YAML. Numbers come out in the shortest
// form that reads back to the same double.
void write(const Json& json, int indent, std::string& out) {
  for (const auto& [key, value] : json.items()) {
    out += std::string(indent, ' ') + key + ":";
    if (value.is_object() && !value.empty()) {
      out += "\n";
      write(value, indent + 2, out);
    } else {
      out += " " + value.dump() + "\n";
    }
  }
}

}  // namespace

std::string to_yaml(const Job& job) {
  Json json = {{"name", job.name}};
  if (!job.run.empty()) json["run"] = job.run;
  json["seed"] = job.seed;
  json["threads"] = job.threads;
  if (!job.weights.empty()) json["weights"] = job.weights;
  json["model"] = model_json(job.model);
  json["data"] = data_json(job.data);
  json["float"] = phase_json(job.floating);
  json["calibrate"] = calibrate_json(job.calibrate);
  json["qat"] = phase_json(job.qat);
  if (job.distill) json["distill"] = distill_json(*job.distill);
  if (job.adversarial) json["adversarial"] = adversarial_json(*job.adversarial);
  json["recipe"] = Json::parse(job.recipe.to_json().dump());
  std::string text;
  write(json, 0, text);
  return text;
}

}  // namespace qat::train
