#pragma once
// A job as plain data: what the YAML file says, checked and with every default filled in.

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "ptq/options.h"
#include "quantizers/recipe.h"

namespace qat::train {

struct MlpSpec {
  std::vector<int64_t> hidden = {128, 64};
  double dropout = 0.0;
};
struct ResNetSpec {
  int64_t depth = 8;  // 6n + 2
  int64_t width = 16;
};
struct MobileNetV2Spec {
  double width = 1.0;
  bool small_stem = true;  // stride 1 in the stem and the first stages, for images of 28 to 64 px
  double dropout = 0.2;
};
struct VitSpec {
  int64_t patch = 4, dim = 64, depth = 4, heads = 4, mlp_dim = 128;
  double dropout = 0.0;
};
using ModelSpec = std::variant<MlpSpec, ResNetSpec, MobileNetV2Spec, VitSpec>;

struct IdxSpec {
  std::string train_images, train_labels, test_images, test_labels;
};
struct FashionMnistSpec {
  std::string root = "/usr/share/datasets/fashion-mnist";
};
struct CsvSpec {
  std::string train, test;
  std::string label = "label";  // name in the header row, or index of the column from 0
  bool header = true;
};
// Files with the tensors "inputs" (U8 or F32, [N, ...]) and "targets" (I64[N]).
struct SafetensorsSpec {
  std::string train, test;
};
using DataSource = std::variant<FashionMnistSpec, IdxSpec, CsvSpec, SafetensorsSpec>;

constexpr int64_t kMostClasses = 100'000;

struct DataSpec {
  DataSource source;
  int64_t batch = 128;
  int64_t limit = 0;       // rows of each split, 0: all
  int64_t validation = 0;  // rows held out of the training split, 0: a twelfth, at most 5000
  int64_t classes = 0;     // 0: one more than the largest training label
  std::vector<double> mean = {}, std = {};  // per channel; empty: computed from the training rows
  bool flip = false;
  int64_t shift = 0;  // pixels
};

struct OptimizerSpec {
  enum class Kind { sgd, adam, adamw } kind = Kind::sgd;
  double lr = 0.1;
  double weight_decay = 0.0;
  double momentum = 0.9;  // sgd
  bool nesterov = true;   // sgd
  double beta1 = 0.9, beta2 = 0.999;
};

struct ScheduleSpec {
  enum class Kind { constant, cosine, step, one_cycle } kind = Kind::constant;
  double warmup = 0.3;  // one_cycle, cosine: share of the steps on which the rate rises
  double start = 0.04;  // one_cycle, cosine: first rate as a share of lr
  double end = 0.0;     // one_cycle, cosine: last rate as a share of lr
  int64_t every = 1;    // step: epochs between two cuts
  double gamma = 0.1;   // step: factor of a cut
};

struct PhaseSpec {
  int64_t epochs = 1;
  OptimizerSpec optimizer;
  ScheduleSpec schedule;
  double clip_norm = 0.0;  // 0: none
  double label_smoothing = 0.0;
  bool bfloat16 = false;  // autocast
};

// A value of the student that is to follow the teacher's.
struct DistillFeature {
  std::string site;
  double weight = 1.0;
  std::string place;  // in the job's file, for messages
};

// The qat phase learns from a float model too (docs/methods.md).
struct DistillSpec {
  std::string teacher = "float";  // the job's own float model; else the path of a run or its file
  std::string place;              // of `teacher`, for messages
  double temperature = 4.0;
  double weight = 0.9;  // share of the teacher's part
  std::vector<DistillFeature> features;
};

// Between the two phases: ranges are observed, and the float model is changed to lose less.
struct CalibrateSpec {
  int64_t batches = 16;
  std::vector<ptq::Step> steps;
  ptq::AdaroundOptions adaround;
};

// Inputs that are moved to where the loss is large. Lengths are in units of the data before
// normalisation; bytes count as 0 to 1.
struct AttackSpec {
  enum class Method { fgsm, pgd } method = Method::pgd;
  double epsilon = 8.0 / 255;  // no value moves further
  int64_t steps = 7;
  double step = 2.5 * epsilon / 7;
  bool random_start = true;

  static AttackSpec fgsm(double epsilon) { return {Method::fgsm, epsilon, 1, epsilon, false}; }
  static AttackSpec pgd(double epsilon, int64_t steps) {
    return {Method::pgd, epsilon, steps, 2.5 * epsilon / static_cast<double>(steps), true};
  }
};

struct AdversarialSpec {
  AttackSpec attack;
  double weight = 1.0;  // share of the loss on attacked inputs; 1: no others are trained on
  bool in_float = true, in_qat = true;
};

struct Job {
  std::string name;
  std::string run;  // folder; empty: runs/<name>, numbered when taken
  int64_t seed = 1;
  int64_t threads = 0;  // 0: as many as torch takes by itself
  std::string weights;  // a trained float model to start from; empty: the float phase trains one
  std::string weights_place;  // of that key
  ModelSpec model;
  DataSpec data;
  PhaseSpec floating;
  CalibrateSpec calibrate;
  PhaseSpec qat;
  std::optional<DistillSpec> distill;
  std::optional<AdversarialSpec> adversarial;
  Recipe recipe;
};

// Reads a job file and applies "key.sub=value" overrides. Throws JobError naming the place.
Job load_job(const std::string& path, const std::vector<std::string>& overrides);
Job parse_job(const std::string& text, const std::string& source,
              const std::vector<std::string>& overrides = {});

// The job as YAML with every key written out, so that parse_job of it gives the same job anywhere.
std::string to_yaml(const Job& job);

}  // namespace qat::train
