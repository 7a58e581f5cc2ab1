#include "commands.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include <cstdio>
#include <filesystem>
#include <optional>

#include "train/evaluate.h"
#include "train/finish.h"
#include "train/latency.h"
#include "train/quantization_step.h"
#include "train/robustness.h"
#include "train/stop_signal.h"
#include "train/yaml_tree.h"

namespace qat::bin {
namespace {

using namespace qat::train;

Evaluation evaluate_on_test(const Forward& forward, Session& session) {
  return train::evaluate(forward, *session.test, session.data.classes);
}

void print_classes(const Evaluation& evaluation) {
  std::printf("class  precision  recall  F1      samples\n");
  int64_t number = 0;
  for (const auto& row : evaluation.per_class()) {
    std::printf("%-5lld  %.4f     %.4f  %.4f  %lld\n", static_cast<long long>(number++),
                row.precision, row.recall, row.f1, static_cast<long long>(row.samples));
  }
}

AttackSpec attack_spec(const AttackChoice& choice, const Job& job) {
  const double usual = job.adversarial ? job.adversarial->attack.epsilon : AttackSpec{}.epsilon;
  const double epsilon = choice.epsilon > 0 ? choice.epsilon : usual;
  if (choice.method == "pgd") {
    return AttackSpec::pgd(epsilon, choice.steps > 0 ? choice.steps : kReportSteps);
  }
  if (choice.steps > 0) throw JobError("--steps: error: belongs to --attack pgd, not to fgsm");
  return AttackSpec::fgsm(epsilon);
}

// What 'evaluate' prints of a run's two models on attacked data.
void attack_run(const RunFolder& folder, Session& session, const NetworkPtr& floating,
                const AttackSpec& attack) {
  const IntegerModel model = IntegerModel::load(folder.int8_model());
  const auto prepared = open_quantized(folder.best_qat(), session);
  const Robustness found = measure_robustness(session, *floating, *prepared, model, attack);
  std::printf("float_robust_accuracy=%.4f int8_robust_accuracy=%.4f\n", found.float_accuracy,
              found.int8_accuracy);
}

int evaluate_run(const std::string& path, const AttackChoice& choice) {
  const RunFolder folder = open_run(path);
  const Job job = load_job(folder.job(), {});
  std::optional<AttackSpec> attack;
  if (!choice.method.empty()) attack = attack_spec(choice, job);
  Session session = open_session(job);
  const NetworkPtr network = load_float_network(folder, session);
  const auto before =
      evaluate_on_test([&](const at::Tensor& x) { return network->forward(x); }, session);
  if (!std::filesystem::exists(folder.int8_model())) {
    if (attack) {
      throw JobError(path + ": error: --attack needs the run's int8 model, but there is no " +
                     folder.int8_model() + "; finish the run with 'qat resume'");
    }
    print_classes(before);
    std::printf("float_accuracy=%.4f\n", before.accuracy());
    return kDone;
  }
  const IntegerModel model = IntegerModel::load(folder.int8_model());
  const auto after =
      evaluate_on_test([&](const at::Tensor& x) { return model.forward(x); }, session);
  print_classes(after);
  std::printf("float_accuracy=%.4f int8_accuracy=%.4f\n", before.accuracy(), after.accuracy());
  if (attack) attack_run(folder, session, network, *attack);
  return kDone;
}

int evaluate_model(const std::string& path, const std::string& job_path) {
  const IntegerModel model = IntegerModel::load(path);
  const auto& provenance = model.model().provenance;
  const auto stored = provenance.find("job");
  if (job_path.empty() && stored == provenance.end()) {
    throw JobError(path + ": error: the model does not say what data it is for; give --job JOB");
  }
  const Job job =
      job_path.empty() ? parse_job(stored->second, path + " (job)") : load_job(job_path, {});
  Session session = open_session(job);
  const auto result =
      evaluate_on_test([&](const at::Tensor& x) { return model.forward(x); }, session);
  print_classes(result);
  std::printf("int8_accuracy=%.4f\n", result.accuracy());
  return kDone;
}

}  // namespace

int conclude(const Summary& summary) {
  std::printf("%s\n", summary.line().c_str());
  if (summary.equal()) return kDone;
  std::fflush(stdout);
  std::fprintf(stderr,
               "qat: error: the int8 model is not the trained model: %lld logits and %lld tensors "
               "differ, first at %s\n",
               static_cast<long long>(summary.differing),
               static_cast<long long>(summary.differing_parameters),
               summary.first_difference.c_str());
  return kFailed;
}

int train(const std::string& job_path, const std::vector<std::string>& overrides) {
  install_stop_handler();
  Job job = load_job(job_path, overrides);
  if (!job.weights.empty() && !std::filesystem::is_regular_file(job.weights)) {
    throw JobError(job_path + ": error: weights: there is no file " + job.weights +
                   "; give the path of a float model such as a run's float.safetensors");
  }
  RunFolder folder = choose_folder(job);
  return conclude(run_job(job, folder));
}

int resume(const std::string& run) {
  install_stop_handler();
  const RunFolder folder = open_run(run);
  return conclude(resume_job(load_job(folder.job(), {}), folder));
}

int evaluate(const std::string& what, const std::string& job, const AttackChoice& attack) {
  const at::NoGradGuard no_grad;
  if (std::filesystem::is_directory(what)) return evaluate_run(what, attack);
  if (!attack.method.empty()) {
    throw JobError(what +
                   ": error: --attack needs the folder of a run: an int8 model alone has no "
                   "gradients to attack it with");
  }
  return evaluate_model(what, job);
}

int verify(const std::string& run, int64_t limit) {
  const RunFolder folder = open_run(run);
  Job job = load_job(folder.job(), {});
  Session session = open_session(job);
  if (limit > 0 && limit < session.data.test.targets.size(0)) {
    session.data.test.inputs = session.data.test.inputs.narrow(0, 0, limit);
    session.data.test.targets = session.data.test.targets.narrow(0, 0, limit);
    session.test = std::make_unique<TensorBatches>(session.data.test, session.data,
                                                   BatchOptions{.batch = 250});
  }
  const IntegerModel model = IntegerModel::load(folder.int8_model());
  const auto prepared = open_quantized(folder.best_qat(), session);
  const VerifyReport report = verify_on_test(*prepared, model, session);
  std::printf("differing_logits=%lld/%lld differing_parameters=%lld\n",
              static_cast<long long>(report.differing), static_cast<long long>(report.logits),
              static_cast<long long>(report.differing_parameters));
  if (report.equal()) return kDone;
  std::fflush(stdout);
  std::fprintf(stderr,
               "qat: error: the int8 model is not the trained model, first difference: %s\n",
               report.first_difference.c_str());
  return kFailed;
}

int plan(const std::string& job, const std::vector<std::string>& overrides) {
  const Session session = open_session(load_job(job, overrides));
  std::printf("%s\n", prepare_session(session)->plan().c_str());
  return kDone;
}

int bench(const std::string& path, int64_t threads) {
  if (threads > 0) at::set_num_threads(static_cast<int>(threads));
  const IntegerModel model = IntegerModel::load(path);
  const auto& graph = model.model().graph;
  std::printf("%s, %d threads\n", path.c_str(), at::get_num_threads());
  for (const auto& [batch, runs] : {std::pair<int64_t, int>{1, 101}, {64, 31}}) {
    TensorList inputs;
    for (const int64_t index : graph.inputs) {
      const auto& value = graph.values.at(static_cast<size_t>(index));
      std::vector<int64_t> sizes;
      for (const auto& size : value.shape) sizes.push_back(size.at(batch));
      const auto type = value.type == graph::ElementType::int64     ? at::kLong
                        : value.type == graph::ElementType::boolean ? at::kBool
                                                                    : at::kFloat;
      inputs.push_back(at::zeros(sizes, at::TensorOptions().dtype(type)));
    }
    const double ms = median_ms([&] { model.forward(inputs); }, runs);
    std::printf("batch %-3lld %9.3f ms  %9.1f samples/s\n", static_cast<long long>(batch), ms,
                1000.0 * static_cast<double>(batch) / ms);
  }
  std::printf("integer multiply-accumulates: %.2f %%\n", 100.0 * model.integer_fraction());
  return kDone;
}

}  // namespace qat::bin
