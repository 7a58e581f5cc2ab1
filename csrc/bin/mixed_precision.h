#pragma once
// qat sensitivity and qat search: bits per layer.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

namespace qat::bin {

struct MixedChoice {
  std::string method = "loss";  // or hessian
  std::vector<int> bits;        // empty: 2 to 8, or 2, 3, 4, 6, 8 to choose from
  int64_t rows = 1024, samples = 16;
  bool activations = false, all = false, force = false;
  double size = 0, bops = 0;  // up to 1: a share of what 8 bits take; 0: not given
  std::string json, out, plot;
};

void add_sensitivity_options(CLI::App* command, MixedChoice& choice);
void add_search_options(CLI::App* command, MixedChoice& choice);

// what: the folder of a run, whose float model is taken, or a job, whose float phase is run first.
int sensitivity(const std::string& what, const std::vector<std::string>& overrides,
                const MixedChoice& choice);
int search(const std::string& what, const std::vector<std::string>& overrides,
           const MixedChoice& choice);

}  // namespace qat::bin
