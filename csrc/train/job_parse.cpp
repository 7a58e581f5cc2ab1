#include <algorithm>
#include <filesystem>

#include "ptq/options.h"
#include "train/job_sections.h"

namespace qat::train {
namespace {

constexpr int64_t kLargestSeed = 999'999'999'999'999'999;

PhaseSpec qat_defaults(const PhaseSpec& floating) {
  PhaseSpec spec = floating;
  spec.epochs = 1;
  spec.optimizer.lr = floating.optimizer.lr / 10;  // fine-tuning of a trained model
  spec.schedule = {};
  spec.schedule.kind = ScheduleSpec::Kind::cosine;
  spec.schedule.warmup = 0;
  return spec;
}

std::string parse_name(const Fields& fields, const std::string& fallback) {
  const std::string name = fields.word("name", fallback);
  for (const char c : name) {
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '_' || c == '-' || c == '.';
    if (!good || name[0] == '.') {
      fields.fail("name", "expected letters, digits, '_', '-' and '.', found '" + name + "'");
    }
  }
  return name;
}

// Rules may change the method of every site, or of none: then it is said once the sites are known.
void check_steps(const Job& job, const Node& recipe) {
  const auto& steps = job.calibrate.steps;
  if (std::find(steps.begin(), steps.end(), ptq::Step::adaround) == steps.end()) return;
  const auto& rules = job.recipe.rules;
  const bool changed = std::any_of(rules.begin(), rules.end(), [](const SiteRule& rule) {
    return rule.weight_method || rule.weight_bits || rule.cluster;
  });
  if (changed) return;
  const std::string obstacle = ptq::adaround_obstacle(job.recipe.weights);
  if (!obstacle.empty()) recipe.place.fail("recipe.weights: " + obstacle);
  if (job.recipe.cluster.values == 0) return;
  recipe.place.fail(
      "recipe.cluster: weights that share values cannot be rounded one by one; "
      "leave out the step adaround or the section");
}

Job parse_tree(const Node& root, const std::string& default_name) {
  const Fields fields(root, "",
                      {"name", "run", "seed", "threads", "weights", "model", "data", "float",
                       "calibrate", "qat", "distill", "adversarial", "recipe"});
  Job job;
  job.name = parse_name(fields, default_name);
  if (fields.find("run")) {
    job.run = std::filesystem::absolute(fields.word("run", "")).lexically_normal().string();
  }
  job.seed = fields.integer("seed", job.seed, 0, kLargestSeed);
  job.threads = fields.integer("threads", job.threads, 0, 1024);
  if (fields.find("weights")) {
    job.weights = std::filesystem::absolute(fields.word("weights", "")).lexically_normal().string();
    job.weights_place = fields.find("weights")->place.text();
  }
  job.model = parse_model(fields.require("model", "a map with the model's name"));
  job.data = parse_data(fields.require("data", "a map with the data's name"));
  if (const Node* part = fields.find("float")) job.floating = parse_phase(*part, "float", {});
  if (const Node* part = fields.find("calibrate")) job.calibrate = parse_calibrate(*part);
  job.qat = qat_defaults(job.floating);
  if (const Node* part = fields.find("qat")) job.qat = parse_phase(*part, "qat", job.qat);
  if (const Node* part = fields.find("distill")) job.distill = parse_distill(*part);
  if (const Node* part = fields.find("adversarial")) job.adversarial = parse_adversarial(*part);
  if (const Node* part = fields.find("recipe")) {
    job.recipe = parse_recipe(*part);
    if (job.recipe.prune.method != PruneMethod::none && job.qat.epochs == 0) {
      part->place.fail(
          "recipe.prune: weights are pruned in quantization-aware steps, and qat.epochs is 0");
    }
    check_steps(job, *part);
  }
  return job;
}

}  // namespace

Job parse_job(const std::string& text, const std::string& source,
              const std::vector<std::string>& overrides) {
  Node root = parse_yaml(text, source);
  for (const auto& assignment : overrides) apply_override(root, assignment);
  return parse_tree(root, "job");
}

Job load_job(const std::string& path, const std::vector<std::string>& overrides) {
  Node root = parse_yaml_file(path);
  for (const auto& assignment : overrides) apply_override(root, assignment);
  return parse_tree(root, std::filesystem::path(path).stem().string());
}

}  // namespace qat::train
