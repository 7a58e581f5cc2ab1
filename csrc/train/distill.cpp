#include "train/distill.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <filesystem>

#include "nearest.h"
#include "qat.h"
#include "train/float_file.h"
#include "train/quantization_step.h"
#include "train/run_folder.h"
#include "train/sizes_text.h"
#include "train/yaml_tree.h"

namespace qat::train {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& place, const std::string& message) {
  throw JobError(place + ": error: " + message);
}

// Making a network draws its first weights; the job's own random numbers must not depend on that.
class RandomStateKeeper {
 public:
  RandomStateKeeper()
      : generator_(at::detail::getDefaultCPUGenerator()), state_(generator_.get_state()) {}
  ~RandomStateKeeper() { generator_.set_state(state_); }
  RandomStateKeeper(const RandomStateKeeper&) = delete;
  RandomStateKeeper& operator=(const RandomStateKeeper&) = delete;

 private:
  at::Generator generator_;
  at::Tensor state_;
};

struct TeacherSource {
  ModelSpec model;
  std::string weights;
};

TeacherSource source_of(const Session& session, const std::string& float_model) {
  const DistillSpec& spec = *session.job.distill;
  if (spec.teacher == "float") return {session.job.model, float_model};
  const bool folder = fs::is_directory(spec.teacher);
  const RunFolder run{folder ? spec.teacher : fs::path(spec.teacher).parent_path().string()};
  TeacherSource source{session.job.model, folder ? run.float_model() : spec.teacher};
  if (!fs::exists(source.weights)) {
    fail(spec.place,
         "distill.teacher: expected float, the folder of a run or its float.safetensors, but "
         "there is no " +
             source.weights);
  }
  if (fs::exists(run.job())) source.model = load_job(run.job(), {}).model;
  return source;
}

NetworkPtr make_teacher(const Session& session, const std::string& float_model) {
  const RandomStateKeeper keeper;
  const TeacherSource source = source_of(session, float_model);
  const NetworkPtr network = make_network(source.model, session.data.shape, session.data.classes);
  const FloatFile file{source.weights, "distill.teacher", session.job.distill->place,
                       "the teacher's model"};
  copy_values(load_float_file(file, *network, session.data), tensors_of(*network), file.path);
  network->eval();
  return network;
}

// Shapes of one example's values at the sites, in float and in eval().
std::vector<at::Tensor> example_features(PreparedModel& model, const Session& session,
                                         const char* whose) {
  const std::vector<std::string> known = model.sites();
  const auto& features = session.job.distill->features;
  for (size_t i = 0; i < features.size(); ++i) {
    const std::string& site = features[i].site;
    if (std::find(known.begin(), known.end(), site) != known.end()) continue;
    const auto near = nearest(site, known);
    fail(features[i].place,
         "distill.features[" + std::to_string(i) + "].site: " + whose + " has no site '" + site +
             "'; " + (near ? "did you mean '" + *near + "'?" : "'qat plan' prints the sites"));
  }
  return model.forward_with_taps({example_of(session)}, sites_of(*session.job.distill)).taps;
}

}  // namespace

std::vector<std::string> sites_of(const DistillSpec& spec) {
  std::vector<std::string> sites;
  for (const auto& feature : spec.features) sites.push_back(feature.site);
  return sites;
}

Teacher::Teacher(const Session& session, const std::string& float_model)
    : network_(make_teacher(session, float_model)), sites_(sites_of(*session.job.distill)) {
  if (sites_.empty()) return;
  prepared_ = prepare(network_, {example_of(session)});
  prepared_->set_phase(Phase::floating);
}

ModelOutputs Teacher::forward(const at::Tensor& inputs) const {
  const at::NoGradGuard no_grad;
  if (prepared_ == nullptr) return {network_->forward(inputs), {}};
  const TappedOutputs all = prepared_->forward_with_taps({inputs}, sites_);
  return {all.outputs.at(0), all.taps};
}

void check_distillation(const Session& session) {
  const at::NoGradGuard no_grad;
  const DistillSpec& spec = *session.job.distill;
  const bool own = spec.teacher == "float";
  std::optional<Teacher> teacher;
  if (!own) teacher.emplace(session, "");
  if (spec.features.empty()) return;
  const bool training = session.network->is_training();
  session.network->eval();
  const auto student = prepare_session(session);
  student->set_phase(Phase::floating);
  const auto ours = example_features(*student, session, "the model");
  session.network->train(training);
  if (own) return;
  const auto theirs = example_features(*teacher->prepared(), session, "the teacher");
  for (size_t i = 0; i < ours.size(); ++i) {
    if (ours[i].sizes() == theirs[i].sizes()) continue;
    fail(spec.features[i].place, "distill.features[" + std::to_string(i) + "].site: '" +
                                     spec.features[i].site + "' is " + sizes_text(ours[i].sizes()) +
                                     " in the model, but " + sizes_text(theirs[i].sizes()) +
                                     " in the teacher");
  }
}

}  // namespace qat::train
