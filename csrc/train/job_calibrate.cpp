#include <algorithm>
#include <iterator>

#include "train/job_sections.h"

namespace qat::train {
namespace {

Words step_names() { return {std::begin(ptq::kStepNames), std::end(ptq::kStepNames)}; }

std::vector<ptq::Step> parse_steps(const Fields& fields) {
  std::vector<ptq::Step> steps;
  const Node* list = fields.find("steps");
  if (!list) return steps;
  const Words names = step_names();
  if (list->kind != Node::Kind::list) {
    fields.fail("steps",
                "expected a list of steps out of " + join(names) + ", found " + list->found());
  }
  for (const Node& item : list->items) {
    const auto known = std::find(names.begin(), names.end(), item.scalar);
    if (item.kind != Node::Kind::scalar || known == names.end()) {
      const auto near =
          item.kind == Node::Kind::scalar ? nearest(item.scalar, names) : std::nullopt;
      item.place.fail("calibrate.steps: expected one of " + join(names) + ", found " +
                      item.found() + (near ? "; did you mean '" + *near + "'?" : ""));
    }
    const auto step = static_cast<ptq::Step>(known - names.begin());
    if (std::find(steps.begin(), steps.end(), step) != steps.end()) {
      item.place.fail("calibrate.steps: '" + item.scalar + "' is given twice");
    }
    steps.push_back(step);
  }
  return steps;
}

ptq::AdaroundOptions parse_adaround(const Node& node) {
  const Fields fields(
      node, "calibrate.adaround",
      {"iterations", "lr", "regularizer", "beta_start", "beta_end", "warmup", "batch", "samples"});
  ptq::AdaroundOptions options;
  options.iterations = fields.integer("iterations", options.iterations, 1, 1'000'000);
  options.lr = fields.number("lr", options.lr, {0.0, 1.0, true});
  options.regularizer = fields.number("regularizer", options.regularizer, {0.0, 1e6});
  options.beta_start = fields.number("beta_start", options.beta_start, {1.0, 100.0});
  options.beta_end = fields.number("beta_end", options.beta_end, {1.0, 100.0});
  options.warmup = fields.number("warmup", options.warmup, {0.0, 1.0, false, true});
  options.batch = fields.integer("batch", options.batch, 1, 65'536);
  options.samples = fields.integer("samples", options.samples, 1, 10'000'000);
  return options;
}

}  // namespace

CalibrateSpec parse_calibrate(const Node& node) {
  const Fields fields(node, "calibrate", {"batches", "steps", "adaround"});
  CalibrateSpec spec;
  spec.batches = fields.integer("batches", spec.batches, 1, 1'000'000);
  spec.steps = parse_steps(fields);
  const Node* options = fields.find("adaround");
  if (!options) return spec;
  if (std::find(spec.steps.begin(), spec.steps.end(), ptq::Step::adaround) == spec.steps.end()) {
    fields.fail("adaround", "belongs to the step adaround, which calibrate.steps does not list");
  }
  spec.adaround = parse_adaround(*options);
  return spec;
}

}  // namespace qat::train
