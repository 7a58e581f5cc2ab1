#pragma once
// The sections of a job, each read from its part of the tree.

#include "train/fields.h"
#include "train/job.h"

namespace qat::train {

ModelSpec parse_model(const Node& node);
DataSpec parse_data(const Node& node);
// defaults: what the phase has where the job says nothing.
PhaseSpec parse_phase(const Node& node, const std::string& path, const PhaseSpec& defaults);
CalibrateSpec parse_calibrate(const Node& node);
DistillSpec parse_distill(const Node& node);
AdversarialSpec parse_adversarial(const Node& node);
// A name ("int8"), a path of a YAML file, or a map.
Recipe parse_recipe(const Node& node);

}  // namespace qat::train
