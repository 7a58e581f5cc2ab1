// The plan as a table for people.

#include <algorithm>

#include "insert/plan.h"

namespace qat::insert {
namespace {

using Row = std::vector<std::string>;

std::string bits(const numerics::IntFormat& format) {
  return (format.is_signed ? "s" : "u") + std::to_string(format.bits);
}

std::string granularity(const WeightRecipe& weight) {
  if (weight.granularity == Granularity::group) return "groups of " + std::to_string(weight.group);
  return weight.granularity == Granularity::channel ? "per channel" : "per tensor";
}

Row layer_row(const capture::TraceNode& node, const SitePlan& site) {
  const auto& w = site.weight;
  const std::string grid = w.symmetric ? ", symmetric" : ", affine";
  return {node.name, node.stem, "w " + bits(w.format()), granularity(w), w.method + grid, ""};
}

Row activation_row(const QuantizerPlan& q, const std::string& stem) {
  const ActivationRecipe& a = q.recipe;
  return {q.name,
          stem,
          "a " + bits(a.format()),
          "per tensor",
          a.method + (a.symmetric ? ", symmetric" : ", affine") +
              (a.power_of_two ? ", power of two" : ""),
          ""};
}

// What the forward learnt from its data as a plain number or truth value. Empty: nothing.
std::string decision(const capture::Trace& trace, const capture::TraceNode& node) {
  bool depends = false;
  for (const int64_t id : node.inputs()) depends = depends || trace.values[id].depends_on_input;
  if (!node.data_dependent || !depends) return {};
  if (!node.outcome.isBool()) {
    return "leaves the graph as a number: whatever the model does with it is constant in the "
           "integer model";
  }
  return std::string("came out ") + (node.outcome.toBool() ? "true" : "false") +
         " with the example inputs; the integer model always goes that way";
}

std::string table(const std::vector<Row>& rows) {
  std::vector<size_t> widths(rows[0].size(), 0);
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const Row& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i] + std::string(widths[i] - row[i].size() + 2, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

}  // namespace

std::string describe(const capture::Trace& trace, const Plan& plan) {
  std::vector<Row> rows{
      {"site", "operator", "bits", "granularity", "method", "stays float because"}};
  std::vector<bool> shown(plan.quantizers.size(), false);
  const auto show = [&](int quantizer, const std::string& stem) {
    if (quantizer == kNoQuantizer || shown[quantizer]) return;
    shown[quantizer] = true;
    rows.push_back(activation_row(plan.quantizers[quantizer], stem));
  };
  for (size_t i = 0; i < trace.nodes.size(); ++i) {
    const auto& node = trace.nodes[i];
    const SitePlan& site = plan.sites[i];
    for (const int quantizer : site.operands) show(quantizer, "input");
    const bool layer = node.kind == capture::Kind::conv || node.kind == capture::Kind::linear;
    if (layer && site.integer) rows.push_back(layer_row(node, site));
    if (!site.integer) {
      const bool depends = std::any_of(node.outputs.begin(), node.outputs.end(), [&](int64_t id) {
        return trace.values[id].depends_on_input;
      });
      const std::string note = decision(trace, node);
      if (depends || !note.empty()) {
        rows.push_back({node.name, node.stem, "", "", "", note.empty() ? site.reason : note});
      }
    }
    show(site.output, node.stem);
  }
  return table(rows);
}

}  // namespace qat::insert
