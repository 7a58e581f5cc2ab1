#include "mixed_precision.h"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "checkpoint/safetensors.h"
#include "commands.h"
#include "train/bit_report.h"
#include "train/run.h"
#include "train/run_log.h"
#include "train/stop_signal.h"
#include "train/yaml_tree.h"

namespace qat::bin {
namespace {

using namespace qat::train;
namespace fs = std::filesystem;

// The float model of a run, or of a job that is trained for it.
struct FloatModel {
  std::string path;
  Session session;
};

RunFolder train_float(const std::string& path, const std::vector<std::string>& overrides) {
  install_stop_handler();
  Job job = load_job(path, overrides);
  RunFolder folder = choose_folder(job);
  run_float_phase(job, folder);
  // What follows writes nothing that a signal could leave half done.
  for (const int number : {SIGINT, SIGTERM}) std::signal(number, SIG_DFL);
  return folder;
}

FloatModel open_float(const std::string& what, const std::vector<std::string>& overrides) {
  const bool is_run = fs::is_directory(what);
  const RunFolder folder = is_run ? open_run(what) : train_float(what, overrides);
  if (!fs::exists(folder.float_model())) {
    throw JobError(what + ": error: there is no " + folder.float_model() +
                   "; finish the float phase with 'qat resume'");
  }
  const Job job = load_job(folder.job(), is_run ? overrides : std::vector<std::string>{});
  FloatModel model{folder.float_model(), open_session(job)};
  copy_values(load_tensors(model.path).tensors, tensors_of(*model.session.network), model.path);
  return model;
}

SensitivityOptions options_of(const MixedChoice& choice, const std::vector<int>& usual) {
  SensitivityOptions options;
  const bool hessian = choice.method == "hessian";
  if (hessian && choice.activations) {
    throw JobError("--activations: error: the Hessian is that of the weights; give --method loss");
  }
  options.method = hessian ? SensitivityMethod::hessian : SensitivityMethod::loss;
  options.bits = choice.bits.empty() ? usual : choice.bits;
  std::sort(options.bits.begin(), options.bits.end());
  options.bits.erase(std::unique(options.bits.begin(), options.bits.end()), options.bits.end());
  options.rows = choice.rows;
  options.samples = choice.samples;
  options.activations = choice.activations;
  return options;
}

Sensitivities measure(PostTraining& models, const SensitivityOptions& options) {
  Console console;
  const auto table = measure_sensitivities(
      models, options, [&](int64_t done, int64_t of) { console.bar("sensitivity", done, of, ""); });
  char text[160];
  std::snprintf(text, sizeof text,
                "on %lld validation rows: loss %.5f in float, %.5f with 8 bits everywhere",
                static_cast<long long>(table.rows), table.float_loss, table.eight_bit_loss);
  console.line(text);
  return table;
}

// Before minutes of work: whether the file can be written where it is to be.
void check_target(const std::string& option, const std::string& path, bool force) {
  if (path.empty()) return;
  const fs::path folder = fs::absolute(path).parent_path();
  if (!fs::is_directory(folder)) {
    throw JobError(option + ": error: there is no folder " + folder.string() +
                   "; make it or name another");
  }
  if (fs::is_directory(path)) {
    throw JobError(option + ": error: " + path + " is a folder; name a file in it");
  }
  if (!force && fs::exists(path)) {
    throw JobError(option + ": error: " + path +
                   " exists; name another file, or replace it with --force");
  }
}

struct Budget {
  Measure measure;
  int64_t amount, whole;  // whole: with 8 bits
  std::string text;
};

Budget budget_of(const MixedChoice& choice, const Sensitivities& table) {
  const Measure measure = choice.size > 0 ? Measure::bytes : Measure::bit_operations;
  const double given = choice.size > 0 ? choice.size : choice.bops;
  const int64_t whole = cost_of(table, uniform_bits(table, kMostBits), measure);
  const double amount = given <= 1 ? given * static_cast<double>(whole) : given;
  Budget budget{measure, static_cast<int64_t>(std::min(amount, 9e18)), whole, ""};
  char share[32];
  std::snprintf(share, sizeof share, "%.4f",
                static_cast<double>(budget.amount) / static_cast<double>(whole));
  budget.text = std::to_string(budget.amount) +
                (measure == Measure::bytes ? " bytes of weights, " : " bit operations, ") + share +
                " of those with 8 bits";
  return budget;
}

std::vector<int> find_within(const Sensitivities& table, const Budget& budget) {
  const bool bytes = budget.measure == Measure::bytes;
  const int64_t least = cost_of(table, uniform_bits(table, table.bits.front()), budget.measure);
  if (least > budget.amount) {
    throw JobError(std::string(bytes ? "--size" : "--bops") + ": error: expected at least " +
                   std::to_string(least) + (bytes ? " bytes" : " bit operations") +
                   ", what these bits can reach, got " + std::to_string(budget.amount) +
                   "; allow fewer with --bits, or --all for the first and the last layer");
  }
  return find_bits(table, budget.measure, budget.amount);
}

std::string bits_name(int bits) { return std::to_string(bits) + " bits"; }

std::vector<Candidate> uniform_candidates(Judge& judge, const Sensitivities& table) {
  std::vector<int> all = table.bits;
  if (all.back() != kMostBits) all.push_back(kMostBits);
  std::vector<Candidate> candidates;
  for (const int bits : all) {
    candidates.push_back(judge.judge(bits_name(bits), uniform_bits(table, bits)));
  }
  return candidates;
}

// Budgets in equal steps from the smallest that can be met to 8 bits.
std::vector<Candidate> sweep(Judge& judge, const Sensitivities& table, Measure measure) {
  constexpr int64_t kSteps = 8;
  const int64_t least = cost_of(table, uniform_bits(table, table.bits.front()), measure);
  const int64_t most = cost_of(table, uniform_bits(table, table.bits.back()), measure);
  std::vector<Candidate> candidates;
  for (int64_t k = 0; k <= kSteps; ++k) {
    const int64_t budget = least + (most - least) / kSteps * k;
    const std::vector<int> bits = find_bits(table, measure, k == kSteps ? most : budget);
    if (!candidates.empty() && candidates.back().bits == bits) continue;
    candidates.push_back(judge.judge("mixed", bits));
  }
  return candidates;
}

void write_recipe(const Judge& judge, const Sensitivities& table, const Candidate& found,
                  const std::string& float_model, const Budget& budget, const std::string& path) {
  Recipe recipe = judge.recipe(found.bits);
  recipe.name += "-mixed";
  safetensors::write_file(
      path, recipe_yaml(recipe, search_header(table, found, float_model, budget.text)));
}

void print_summary(const Candidate& found, const Budget& budget) {
  std::printf(
      "bytes=%lld bit_operations=%lld ratio=%.4f predicted_increase=%.6f loss=%.6f "
      "accuracy=%.4f\n",
      static_cast<long long>(found.bytes), static_cast<long long>(found.bit_operations),
      static_cast<double>(found.cost(budget.measure)) / static_cast<double>(budget.whole),
      found.increase, found.loss, found.accuracy);
}

void add_common_options(CLI::App* command, MixedChoice& choice) {
  command
      ->add_option("--method", choice.method,
                   "loss: measure the loss with one layer at fewer bits; hessian: trace of the "
                   "float model's Hessian; default: loss")
      ->check(CLI::IsMember({"loss", "hessian"}))
      ->option_text("METHOD");
  command->add_option("--rows", choice.rows, "rows of the validation data; default: 1024")
      ->check(CLI::Range(int64_t{1}, int64_t{1'000'000'000}))
      ->option_text("N");
  command->add_option("--samples", choice.samples, "random vectors of the Hessian; default: 16")
      ->check(CLI::Range(int64_t{2}, int64_t{100'000}))
      ->option_text("N");
  command->add_flag("--activations", choice.activations,
                    "change the bits of what a layer reads with those of its weights");
}

void add_bits_option(CLI::App* command, MixedChoice& choice, const std::string& help) {
  command->add_option("--bits", choice.bits, help)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(2, 8))
      ->option_text("B,B,...");
}

}  // namespace

void add_sensitivity_options(CLI::App* command, MixedChoice& choice) {
  add_common_options(command, choice);
  add_bits_option(command, choice, "bits to look at; default: 2,3,4,5,6,7,8");
  command->add_option("--json", choice.json, "write the numbers into this file, too")
      ->option_text("FILE");
}

// CLI11's own check names the smallest double there is.
std::string above_zero(const std::string& given) {
  double value = 0;
  if (CLI::detail::lexical_cast(given, value) && value > 0) return {};
  return "expected a number above 0, got " + given;
}

void add_search_options(CLI::App* command, MixedChoice& choice) {
  add_common_options(command, choice);
  add_bits_option(command, choice, "bits to choose from; default: 2,3,4,6,8");
  CLI::Option* size =
      command
          ->add_option("--size", choice.size,
                       "most bytes of weights; up to 1: as a share of those with 8 bits")
          ->check(&above_zero)
          ->option_text("X");
  command
      ->add_option("--bops", choice.bops,
                   "most bit operations, MACs * bits * bits; up to 1: as a share")
      ->check(&above_zero)
      ->option_text("X")
      ->excludes(size);
  command->add_option("--out", choice.out, "the recipe, a YAML file")
      ->required()
      ->option_text("FILE (needed)");
  command
      ->add_option("--plot", choice.plot,
                   "draw accuracy over size for several budgets into this SVG file")
      ->option_text("FILE");
  command->add_flag("--all", choice.all, "choose for the first and the last layer, too");
  command->add_flag("--force", choice.force, "replace files that exist");
}

int sensitivity(const std::string& what, const std::vector<std::string>& overrides,
                const MixedChoice& choice) {
  check_target("--json", choice.json, /*force=*/true);
  const SensitivityOptions options = options_of(choice, {2, 3, 4, 5, 6, 7, 8});
  FloatModel model = open_float(what, overrides);
  PostTraining models(model.session);
  const Sensitivities table = measure(models, options);
  std::printf("%s", sensitivity_table(table).c_str());
  if (!choice.json.empty()) {
    safetensors::write_file(choice.json, train::to_json(table).dump(1) + "\n");
  }
  return kDone;
}

int search(const std::string& what, const std::vector<std::string>& overrides,
           const MixedChoice& choice) {
  if (choice.size <= 0 && choice.bops <= 0) {
    throw JobError("qat search: error: a budget is needed; give --size or --bops");
  }
  check_target("--out", choice.out, choice.force);
  check_target("--plot", choice.plot, choice.force);
  SensitivityOptions options = options_of(choice, {2, 3, 4, 6, 8});
  options.ends = choice.all;
  FloatModel model = open_float(what, overrides);
  PostTraining models(model.session);
  const Sensitivities table = measure(models, options);
  const Budget budget = budget_of(choice, table);
  Judge judge(models, table);
  const Candidate found = judge.judge("found", find_within(table, budget));
  const std::vector<Candidate> uniform = uniform_candidates(judge, table);
  std::printf("%s\n", candidate_table(table, found).c_str());
  std::vector<Candidate> rows{found};
  rows.insert(rows.end(), uniform.begin(), uniform.end());
  std::printf("%s\n", comparison_table(rows).c_str());
  if (!choice.plot.empty()) {
    const auto mixed = sweep(judge, table, budget.measure);
    safetensors::write_file(choice.plot, accuracy_plot(budget.measure, mixed, uniform));
  }
  write_recipe(judge, table, found, model.path, budget, choice.out);
  print_summary(found, budget);
  return kDone;
}

}  // namespace qat::bin
