#include "train/quantization_step.h"

#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>

#include <algorithm>

#include "insert/engine.h"
#include "insert/site_name.h"
#include "qat.h"

namespace qat::train {

namespace {

// Note [Names of layers]
// The C++ front end computes a linear layer as addmm(bias, x, weight.t()): the transposed weight is
// the first operator with the module's parameters and takes its name, and the layer becomes head_1.
// A rule for `head` matches the former, so that prepare() has nothing to say.
void warn_of_rules_for_weights(PreparedModel& prepared) {
  const capture::Trace& trace = prepared.engine().trace;
  const insert::LayerEnds ends(trace);
  const std::vector<std::string> sites = prepared.sites();
  const auto& rules = prepared.recipe().rules;
  for (size_t i = 0; i < rules.size(); ++i) {
    bool matches = false, acts = false;
    for (const capture::TraceNode& node : trace.nodes) {
      if (!ends.name_of(node).matches(rules[i].sites)) continue;
      matches = true;
      acts = acts || std::find(sites.begin(), sites.end(), node.name) != sites.end();
    }
    if (!matches || acts) continue;
    TORCH_WARN("qat: recipe.rules[", i, "].sites: '", rules[i].sites,
               "' matches nothing but what is computed from weights alone, so the rule does "
               "nothing; 'qat plan' prints the sites");
  }
}

}  // namespace

std::shared_ptr<PreparedModel> prepare_session(const Session& session) {
  auto prepared = prepare(session.network, {example_of(session)}, session.job.recipe);
  warn_of_rules_for_weights(*prepared);
  return prepared;
}

void calibrate(PreparedModel& prepared, Session& session,
               const std::function<void(int64_t batch)>& between) {
  const at::NoGradGuard no_grad;
  prepared.set_phase(Phase::calibrate);
  session.network->eval();
  const int64_t batches = std::min(session.job.calibrate.batches, session.train->batches());
  for (int64_t index = 0; index < batches; ++index) {
    between(index);
    prepared.forward(session.train->batch(0, index).inputs);
  }
  prepared.set_phase(Phase::qat);
}

void save_quantized(const std::string& path, const Session& session,
                    const PreparedModel& prepared) {
  NamedTensors tensors;
  add_prefixed(tensors, "model.", tensors_of(*session.network));
  add_prefixed(tensors, "quantizer.", prepared.state());
  save_tensors(path, tensors, {{"format", "qat_ext-quantized/1"}});
}

void load_quantized(const std::string& path, Session& session, PreparedModel& prepared) {
  const TensorFile file = load_tensors(path);
  copy_values(with_prefix(file.tensors, "model."), tensors_of(*session.network), path);
  copy_values(with_prefix(file.tensors, "quantizer."), prepared.state(), path);
}

std::shared_ptr<PreparedModel> open_quantized(const std::string& path, Session& session) {
  auto prepared = prepare_session(session);
  prepared->set_phase(Phase::qat);
  load_quantized(path, session, *prepared);
  prepared->step(1.0);
  session.network->eval();
  return prepared;
}

VerifyReport verify_on_test(PreparedModel& prepared, const IntegerModel& integer,
                            Session& session) {
  const at::NoGradGuard no_grad;
  std::vector<TensorList> batches;
  for (int64_t index = 0; index < session.test->batches(); ++index) {
    batches.push_back({session.test->batch(0, index).inputs});
  }
  return verify(prepared, integer, batches);
}

}  // namespace qat::train
