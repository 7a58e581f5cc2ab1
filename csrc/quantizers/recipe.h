#pragma once
// What to quantize and how: frozen data, checked where it is made.

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "numerics/format.h"
#include "numerics/qparams.h"

namespace qat {

enum class Target { x86, tensorrt };  // unsigned affine, or signed symmetric activations
enum class Granularity { tensor, channel, group };
enum class Rounding { nearest, stochastic };
enum class ForwardType { integer, float32 };
enum class GradientType { float32, int16, bfloat16 };
enum class SavedValue { float32, float16, recompute };

struct WeightRecipe {
  int bits = 8;
  Granularity granularity = Granularity::channel;
  int group = 32;         // granularity group: weights of a channel that share a factor
  bool symmetric = true;  // false: a zero point of their own too, 2 to 7 bits
  bool power_of_two = false;
  std::string method = "absmax";          // a name of weight_methods()
  Rounding rounding = Rounding::nearest;  // in training; eval rounds to nearest
  double noise = 0.0;  // share of the weights that stay at 8 bits in a training step
  // 8 bits: narrow; fewer: full range (rule 1 of docs/numerics.md).
  numerics::IntFormat format() const { return {bits, symmetric, symmetric && bits == 8}; }
  // What is multiplied: factors and zero points are in the codes (rule 15).
  bool in_groups() const { return granularity == Granularity::group || !symmetric; }
  numerics::IntFormat code_format() const { return in_groups() ? numerics::kInt8Narrow : format(); }
  // With 8 bits there is no room for a zero point, and none for noise.
  WeightRecipe with_bits(int count) const;
  bool operator==(const WeightRecipe&) const = default;
};

struct ActivationRecipe {
  int bits = 8;
  bool symmetric = false;  // signed codes, zero point 0
  bool power_of_two = false;
  std::string method = "ema_minmax";  // an observer, or a learned range of activation_methods()
  double momentum = 0.01;             // ema_minmax: share of the newest batch, in (0, 1]
  double percentile = 99.99;          // percentile: of the magnitudes on either side
  std::string init = "mse";           // learned ranges: the observer that sets the first one
  numerics::IntFormat format() const { return {bits, symmetric, false}; }
  numerics::Symmetry symmetry() const {
    return symmetric ? numerics::Symmetry::symmetric : numerics::Symmetry::affine;
  }
  bool operator==(const ActivationRecipe&) const = default;
};

// Overrides for the sites whose name matches `sites` (shell wildcards: * ? [..]); later rules win.
// "<first>" and "<last>" are the first and the last layer with weights and the values they read.
struct SiteRule {
  std::string sites;
  bool keep_float = false;
  std::optional<int> weight_bits, activation_bits;
  std::optional<std::string> weight_method, activation_method;
  std::optional<double> start;  // share of the steps from which on the sites are quantized
  std::optional<bool> prune, cluster;
  WeightRecipe apply(WeightRecipe to) const;
  ActivationRecipe apply(ActivationRecipe to) const;
  bool operator==(const SiteRule&) const = default;
};

// Fractions of the quantization-aware steps at which parts stop moving; 1.0 is the end.
struct FreezeSchedule {
  double batch_norm = 0.6;
  double ranges = 0.8;       // observed and learned ones
  double convergence = 0.0;  // and each one alone that changed by less, relatively, in 100 steps
  bool operator==(const FreezeSchedule&) const = default;
};

// Nothing below `weights` and `activations` bits before the share `until` of the steps.
struct BitsStage {
  double until = 1.0;
  int weights = 8, activations = 8;
  bool operator==(const BitsStage&) const = default;
};

// Quantization that starts late or gets narrower while the model trains.
struct QuantizeSchedule {
  double start = 0.0;             // share of the steps from which on anything is quantized
  std::vector<BitsStage> stages;  // in ascending order of `until`
  bool operator==(const QuantizeSchedule&) const = default;
};

// Weights that jump between two codes (Nagel et al., ICML 2022).
struct OscillationRecipe {
  double damping = 0.0;    // weight of the loss that pulls weights to the middle of their bin
  double freeze = 0.0;     // frequency of jumps above which a weight is frozen; 0: never
  double momentum = 0.01;  // share of the newest step in the running frequency
  bool operator==(const OscillationRecipe&) const = default;
};

enum class PruneMethod { none, magnitude, two_of_four, channel };

struct PruneRecipe {
  PruneMethod method = PruneMethod::none;
  double sparsity = 0.5;          // share of the weights, or channels, that end as zero
  double start = 0.0, end = 0.5;  // shares of the steps between which it is reached
  bool operator==(const PruneRecipe&) const = default;
};

struct ClusterRecipe {
  int values = 0;  // of a codebook per layer, a power of two; 0: none
  bool operator==(const ClusterRecipe&) const = default;
};

// How learned scales and zero points are trained beside the model's parameters.
struct LearnedRecipe {
  double lr = 1.0;            // factor of the optimizer's rate
  double weight_decay = 0.0;  // in place of the optimizer's
  bool operator==(const LearnedRecipe&) const = default;
};

// How the training step computes. Nothing here changes what the integer model computes.
struct NumericsRecipe {
  // integer: u8 x s8 products. float32: a float convolution of integer-valued operands, split where
  // a sum could leave the exact integers.
  ForwardType forward = ForwardType::integer;
  // Batch norm, activation, observer and quantizer in one pass, or one after the other.
  bool fused = true;
  // Products of the conv and linear layers' gradients; int16 rounds the incoming gradient
  // (Note [16-bit gradients]), bfloat16 rounds it to 8 bits.
  GradientType backward = GradientType::float32;
  // What stays for backward of an integer layer behind which batch norm, activation and quantizer
  // follow, beside its codes: its accumulator, the normalised accumulator as float16, or nothing
  // (the layer runs again).
  SavedValue save = SavedValue::float32;
  bool operator==(const NumericsRecipe&) const = default;
};

struct Recipe {
  std::string name = "int8";
  Target target = Target::x86;
  WeightRecipe weights;
  ActivationRecipe activations;
  std::vector<SiteRule> rules;
  LearnedRecipe learned;
  QuantizeSchedule schedule;
  FreezeSchedule freeze;
  OscillationRecipe oscillation;
  PruneRecipe prune;
  ClusterRecipe cluster;
  NumericsRecipe numerics;
  bool operator==(const Recipe&) const = default;

  // One of recipe_names(). Throws qat::Error listing them.
  static Recipe named(const std::string& name);
  // Keys that differ from the default; unknown keys, wrong types and values out of range throw
  // qat::Error of the form "recipe.weights.bits: expected an integer from 2 to 8, got 9".
  static Recipe from_json(const nlohmann::json& json);
  nlohmann::json to_json() const;
};

const std::vector<std::string>& recipe_names();
// The names that WeightRecipe::method and ActivationRecipe::method may have.
const std::vector<std::string>& weight_methods();
const std::vector<std::string>& activation_methods();
const std::vector<std::string>& observer_names();

}  // namespace qat
