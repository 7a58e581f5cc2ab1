#include "train/finish.h"

#include <ATen/core/grad_mode.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "checkpoint/safetensors.h"
#include "train/latency.h"
#include "train/quantization_step.h"
#include "train/report_data.h"
#include "train/report_html.h"
#include "version.h"

namespace qat::train {
namespace {

std::string text(double value) {
  char out[32];
  std::snprintf(out, sizeof out, "%.6f", value);
  return out;
}

std::string text(const std::vector<double>& values) { return nlohmann::json(values).dump(); }

void describe(graph::Model& model, const Session& session, double float_accuracy,
              double int8_accuracy) {
  Job job = session.job;
  job.run.clear();  // the same job in another folder gives the same file
  model.provenance["job"] = to_yaml(job);
  model.provenance["seed"] = std::to_string(job.seed);
  model.provenance["qat_ext"] = version();
  model.provenance["torch"] = torch_version();
  model.provenance["dataset"] = session.data.digest;
  model.provenance["mean"] = text(session.data.mean);
  model.provenance["std"] = text(session.data.std);
  model.provenance["float_accuracy"] = text(float_accuracy);
  model.provenance["int8_accuracy"] = text(int8_accuracy);
}

Forward forward_of(const NetworkPtr& network) {
  return [network](const at::Tensor& x) { return network->forward(x); };
}

Forward forward_of(const IntegerModel& model) {
  return [&model](const at::Tensor& x) { return model.forward(x); };
}

}  // namespace

NetworkPtr load_float_network(const RunFolder& folder, const Session& session) {
  const NetworkPtr network =
      make_network(session.job.model, session.data.shape, session.data.classes);
  copy_values(load_tensors(folder.float_model()).tensors, tensors_of(*network),
              folder.float_model());
  network->eval();
  return network;
}

Summary finish_run(const RunFolder& folder, Session& session, PreparedModel& prepared,
                   RunLog& log) {
  const at::NoGradGuard no_grad;
  const NetworkPtr floating = load_float_network(folder, session);
  const Evaluation before = evaluate(forward_of(floating), *session.test, session.data.classes);
  IntegerModel converted = convert(prepared);
  const Evaluation after = evaluate(forward_of(converted), *session.test, session.data.classes);
  describe(converted.model(), session, before.accuracy(), after.accuracy());
  converted.save(folder.int8_model());

  const IntegerModel shipped = IntegerModel::load(folder.int8_model());
  log.console.line("verify: comparing the prepared model with every executor on the test data");
  const VerifyReport verified = verify_on_test(prepared, shipped, session);

  Summary summary;
  summary.float_accuracy = before.accuracy();
  summary.int8_accuracy = after.accuracy();
  summary.logits = verified.logits;
  summary.differing = verified.differing;
  summary.differing_parameters = verified.differing_parameters;
  summary.first_difference = verified.first_difference;
  const auto float_bytes = std::filesystem::file_size(folder.float_model());
  const auto int8_bytes = std::filesystem::file_size(folder.int8_model());
  summary.size_ratio = static_cast<double>(int8_bytes) / static_cast<double>(float_bytes);

  if (const auto& adversarial = session.job.adversarial) {
    log.console.line("attack: the test data, against the float and against the int8 model");
    const AttackSpec attack = AttackSpec::pgd(adversarial->attack.epsilon, kReportSteps);
    summary.robustness = measure_robustness(session, *floating, prepared, shipped, attack);
  }

  const ReportInputs inputs{.session = session,
                            .before = before,
                            .after = after,
                            .model = shipped.model(),
                            .summary = summary,
                            .integer_fraction = shipped.integer_fraction(),
                            .float_bytes = static_cast<int64_t>(float_bytes),
                            .int8_bytes = static_cast<int64_t>(int8_bytes),
                            .latency = measure_latency(*floating, shipped, session.data.shape),
                            .signals = prepared.measure({session.validation->batch(0, 0).inputs}),
                            .metrics_path = folder.metrics()};
  const nlohmann::json report = report_data(inputs);
  safetensors::write_file(folder.report_json(), report.dump(1) + "\n");
  safetensors::write_file(folder.report_html(), report_html(report));
  log.console.line("report: " + folder.report_html());
  return summary;
}

}  // namespace qat::train
