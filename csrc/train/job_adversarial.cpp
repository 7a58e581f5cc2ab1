#include <algorithm>

#include "train/job_sections.h"

namespace qat::train {
namespace {

constexpr Interval kDistance{0.0, 1e6, true};

AttackSpec parse_attack(const Fields& fields) {
  const std::string method = fields.choice("method", "pgd", {"fgsm", "pgd"});
  const double epsilon = fields.number("epsilon", AttackSpec{}.epsilon, kDistance);
  if (method == "fgsm") {
    for (const char* key : {"step", "steps", "random_start"}) {
      if (fields.find(key)) fields.fail(key, "belongs to the method pgd, not to fgsm");
    }
    return AttackSpec::fgsm(epsilon);
  }
  const int64_t steps = fields.integer("steps", AttackSpec{}.steps, 1, 10'000);
  AttackSpec spec = AttackSpec::pgd(epsilon, steps);
  spec.step = fields.number("step", spec.step, kDistance);
  spec.random_start = fields.boolean("random_start", spec.random_start);
  return spec;
}

// The phases that are named, each once.
Words parse_phases(const Fields& fields) {
  const Words known = {"float", "qat"};
  const Node* list = fields.find("phases");
  if (!list) return known;
  if (list->kind != Node::Kind::list || list->items.empty()) {
    fields.fail("phases", "expected a list of float and qat, found " + list->found());
  }
  Words phases;
  for (const Node& item : list->items) {
    if (std::find(known.begin(), known.end(), item.scalar) == known.end()) {
      item.place.fail(fields.path("phases") + ": expected float or qat, found " + item.found());
    }
    if (std::find(phases.begin(), phases.end(), item.scalar) != phases.end()) {
      item.place.fail(fields.path("phases") + ": '" + item.scalar + "' is given twice");
    }
    phases.push_back(item.scalar);
  }
  return phases;
}

}  // namespace

AdversarialSpec parse_adversarial(const Node& node) {
  const Fields fields(node, "adversarial",
                      {"method", "epsilon", "step", "steps", "random_start", "weight", "phases"});
  AdversarialSpec spec;
  spec.attack = parse_attack(fields);
  spec.weight = fields.number("weight", spec.weight, {0.0, 1.0, true});
  const Words phases = parse_phases(fields);
  const auto named = [&](const char* phase) {
    return std::find(phases.begin(), phases.end(), phase) != phases.end();
  };
  spec.in_float = named("float");
  spec.in_qat = named("qat");
  return spec;
}

}  // namespace qat::train
