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
enum class Granularity { tensor, channel };
enum class GradientType { float32, int16 };
enum class SavedValue { float32, float16, recompute };

struct WeightRecipe {
  int bits = 8;
  Granularity granularity = Granularity::channel;
  bool power_of_two = false;
  // 8 bits: narrow; fewer: full range (rule 1 of docs/numerics.md).
  numerics::IntFormat format() const { return {bits, true, bits == 8}; }
  bool operator==(const WeightRecipe&) const = default;
};

struct ActivationRecipe {
  int bits = 8;
  bool symmetric = false;  // signed codes, zero point 0
  bool power_of_two = false;
  double momentum = 0.01;  // share of the newest batch in the running range, in (0, 1]
  numerics::IntFormat format() const { return {bits, symmetric, false}; }
  numerics::Symmetry symmetry() const {
    return symmetric ? numerics::Symmetry::symmetric : numerics::Symmetry::affine;
  }
  bool operator==(const ActivationRecipe&) const = default;
};

// Overrides for the sites whose name matches `sites` (shell wildcards: * ? [..]); later rules win.
struct SiteRule {
  std::string sites;
  bool keep_float = false;
  std::optional<int> weight_bits, activation_bits;
  bool operator==(const SiteRule&) const = default;
};

// Fractions of the quantization-aware steps at which parts stop moving; 1.0 is the end.
struct FreezeSchedule {
  double batch_norm = 0.6;
  double ranges = 0.8;
  bool operator==(const FreezeSchedule&) const = default;
};

// How the training step computes what the contract leaves open: gradients.
struct NumericsRecipe {
  // Products of the conv and linear layers' gradients; int16 rounds the incoming gradient
  // (Note [16-bit gradients]).
  GradientType backward = GradientType::float32;
  // What stays for backward of an integer layer behind which batch norm, activation and quantizer
  // follow, beside its codes: its accumulator, the normalised accumulator as float16, or nothing
  // (the layer runs again).
  SavedValue save = SavedValue::float32;
  int backward_bits() const { return backward == GradientType::int16 ? 16 : 32; }
  bool operator==(const NumericsRecipe&) const = default;
};

struct Recipe {
  std::string name = "int8";
  Target target = Target::x86;
  WeightRecipe weights;
  ActivationRecipe activations;
  std::vector<SiteRule> rules;
  FreezeSchedule freeze;
  NumericsRecipe numerics;
  bool operator==(const Recipe&) const = default;

  // The named recipes: "int8", "int8-symmetric". Throws qat::Error listing them.
  static Recipe named(const std::string& name);
  // Keys that differ from the default; unknown keys, wrong types and values out of range throw
  // qat::Error of the form "recipe.weights.bits: expected an integer from 2 to 8, got 9".
  static Recipe from_json(const nlohmann::json& json);
  nlohmann::json to_json() const;
};

}  // namespace qat
