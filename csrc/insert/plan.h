#pragma once
// Recipe x trace -> which tensor gets which quantizer.

#include <cstdint>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "capture/trace.h"
#include "quantizers/recipe.h"
#include "quantizers/weight_quantizer.h"

namespace qat::insert {

constexpr int kNoQuantizer = -1;

// One activation quantizer. Tensors that must share parameters share one.
struct QuantizerPlan {
  std::string name;  // "layer1.0.relu"; on an edge into a layer: "conv1.input"
  ActivationRecipe recipe;
  double start = 0.0;  // share of the steps from which on some operator makes or reads its codes
};

// What is done with one recorded operator.
struct SitePlan {
  bool integer = false;       // conv, linear: integer accumulators; others: part of a chain
  std::string reason;         // why it stays float
  double start = 0.0;         // share of the steps from which on it is not a float island
  int output = kNoQuantizer;  // its results are held as codes of this quantizer
  std::vector<int> operands;  // per entry of TraceNode::inputs(): quantizer of a real operand
  WeightRecipe weight;        // conv, linear
  WeightShape weight_shape;
  std::string weight_parameter;  // the parameter that the weight is or derives from
};

struct Plan {
  std::vector<QuantizerPlan> quantizers;
  std::vector<SitePlan> sites;  // parallel to Trace::nodes
  std::unordered_map<uint64_t, int64_t> node_of_key;
  std::unordered_set<std::string> layer_parameters;  // weights of integer layers
  // Quantizer of a value whose every reader sees codes, or kNoQuantizer.
  std::vector<int> value_quantizer;
  NumericsRecipe numerics;
};

// Note [What is quantized]
// A conv or linear layer whose weight depends on parameters alone is computed in integers; its
// input must be codes. A value that comes out of integer work (a layer, its batch norm and
// activation, pooling, table functions, additions of such values) and that any reader needs as
// codes is quantized where it is made, and then every reader sees the codes: the float value never
// exists. A value from a float island (softmax, layer norm, a model input) stays float; layers that
// need codes quantize it on the way in, and other readers keep the float value. An operand of an
// addition that has no other reader enters as it is, before any rounding to codes.
Plan make_plan(const capture::Trace& trace, const Recipe& recipe);

// Note [Sites that start late]
// Before its start a planned site runs as a float island, and the values that it would quantize are
// observed. Nothing else needs to know: an operator that reads codes quantizes a real operand on
// the way in, with the quantizer of the value, and an island reads the real value of codes.
// Operators that return views keep to what they view: a quantized copy would not see later writes.
// Fills in the quantizers' starts and those of views from the starts of the other sites.
void complete_starts(const capture::Trace& trace, Plan& plan);

// How far the schedule has come.
struct Progress {
  double fraction = 1.0;
  int weight_bits = 0, activation_bits = 0;  // no fewer are in use (BitsStage)
  bool started(const SitePlan& site) const { return fraction >= site.start; }
};
Progress progress_at(const QuantizeSchedule& schedule, double fraction);
// The first site, or the stage, that the schedule has yet to come to and what to do; or empty.
std::string unfinished(const capture::Trace& trace, const Plan& plan,
                       const QuantizeSchedule& schedule, double fraction);

std::string describe(const capture::Trace& trace, const Plan& plan);

}  // namespace qat::insert
