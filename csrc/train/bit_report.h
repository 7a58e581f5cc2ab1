#pragma once
// What the search for bits prints and writes.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "train/bit_search.h"

namespace qat::train {

// Keys that differ from those of a recipe without any; a comment line for each of `header`.
std::string recipe_yaml(const Recipe& recipe, const std::vector<std::string>& header);

// How the recipe was found: budget, sensitivities and choice of every group.
std::vector<std::string> search_header(const Sensitivities& table, const Candidate& found,
                                       const std::string& float_model, const std::string& budget);

nlohmann::json to_json(const Sensitivities& table);

// Columns by what they are: parameters, MACs, sensitivities. The first is left-aligned.
std::string sensitivity_table(const Sensitivities& table);
std::string candidate_table(const Sensitivities& table, const Candidate& found);
std::string comparison_table(const std::vector<Candidate>& candidates);

// Accuracy over cost, as a page of its own.
std::string accuracy_plot(Measure measure, const std::vector<Candidate>& mixed,
                          const std::vector<Candidate>& uniform);

}  // namespace qat::train
