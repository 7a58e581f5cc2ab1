#include "train/bit_report.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "train/svg.h"

namespace qat::train {
namespace {

using nlohmann::json;
using Row = std::vector<std::string>;

std::string number(const char* pattern, double value) {
  char text[48];
  std::snprintf(text, sizeof text, pattern, value);
  return text;
}

std::string table_of(const std::vector<Row>& rows) {
  std::vector<size_t> widths(rows[0].size(), 0);
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const Row& row : rows) {
    std::string line = row[0] + std::string(widths[0] - row[0].size(), ' ');
    for (size_t i = 1; i < row.size(); ++i) {
      line += std::string(2 + widths[i] - row[i].size(), ' ') + row[i];
    }
    text += line + "\n";
  }
  return text;
}

// What `value` says that `usual` does not.
json difference(const json& value, const json& usual) {
  json rest = json::object();
  for (const auto& [key, entry] : value.items()) {
    const auto known = usual.find(key);
    if (known != usual.end() && *known == entry) continue;
    rest[key] = entry.is_object() && known != usual.end() ? difference(entry, *known) : entry;
  }
  return rest;
}

// A map on one line. JSON is YAML, but keys need no quotes.
std::string flow(const json& map) {
  std::string text;
  for (const auto& [key, value] : map.items()) {
    const std::string written = value.is_object() ? flow(value) : value.dump();
    text += (text.empty() ? "" : ", ") + key + ": " + written;
  }
  return "{" + text + "}";
}

// The rule's own keys, the pattern first.
std::string rule_line(const json& rule, const json& usual) {
  json rest = difference(rule, usual);
  rest.erase("sites");
  const std::string text = flow(rest).substr(1);
  return "  - {sites: " + rule.at("sites").dump() + (rest.empty() ? "" : ", ") + text + "\n";
}

std::string one_line(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ') c = '?';
  }
  return text;
}

std::string method_of(const Sensitivities& table) {
  return table.method == SensitivityMethod::loss ? "measured loss" : "Hessian trace";
}

}  // namespace

std::string recipe_yaml(const Recipe& recipe, const std::vector<std::string>& header) {
  std::string text;
  for (const std::string& line : header) text += "# " + one_line(line) + "\n";
  text += "name: " + json(recipe.name).dump() + "\n";
  Recipe usual;
  usual.name = recipe.name;
  json changed = difference(recipe.to_json(), usual.to_json());
  changed.erase("rules");
  for (const auto& [key, value] : changed.items()) {
    text += key + ": " + (value.is_object() ? flow(value) : value.dump()) + "\n";
  }
  if (recipe.rules.empty()) return text;
  usual.rules.resize(1);
  const json plain = usual.to_json().at("rules").at(0);
  text += "rules:\n";
  const json rules = recipe.to_json().at("rules");
  for (const json& rule : rules) text += rule_line(rule, plain);
  return text;
}

std::vector<std::string> search_header(const Sensitivities& table, const Candidate& found,
                                       const std::string& float_model, const std::string& budget) {
  std::vector<std::string> lines{
      "Mixed precision, found by qat search: the smallest sum of sensitivities under a budget.",
      "float model: " + float_model,
      "budget: " + budget + "; found: " + std::to_string(found.bytes) + " bytes, " +
          std::to_string(found.bit_operations) + " bit operations",
      "sensitivity: " + method_of(table) + " on " + std::to_string(table.rows) +
          " validation rows; predicted increase of the loss: " + number("%.6g", found.increase),
      "without training, on the validation split: loss " + number("%.6f", found.loss) +
          ", accuracy " + number("%.4f", found.accuracy)};
  std::string bits;
  for (const int b : table.bits) bits += (bits.empty() ? "" : ", ") + std::to_string(b);
  lines.push_back("site: sensitivity at " + bits + " bits -> chosen");
  for (size_t i = 0; i < table.groups.size(); ++i) {
    std::string values;
    for (const double value : table.groups[i].values) {
      values += (values.empty() ? "" : ", ") + number("%.6g", value);
    }
    lines.push_back("  " + table.groups[i].group.name() + ": " +
                    (values.empty() ? "first or last" : values) + " -> " +
                    std::to_string(found.bits[i]));
  }
  return lines;
}

json to_json(const Sensitivities& table) {
  json sites = json::array();
  for (const GroupSensitivity& one : table.groups) {
    json entry = {{"sites", one.group.sites},
                  {"activations", one.group.activations},
                  {"parameters", one.group.parameters()},
                  {"macs", one.group.macs},
                  {"first_or_last", one.group.end}};
    json values = json::object();
    for (size_t k = 0; k < one.values.size(); ++k) {
      values[std::to_string(table.bits[k])] = one.values[k];
    }
    entry["sensitivity"] = values;
    if (one.trace) {
      entry["trace"] = one.trace->trace;
      entry["trace_standard_error"] = one.trace->standard_error;
    }
    sites.push_back(entry);
  }
  return {{"method", table.method == SensitivityMethod::loss ? "loss" : "hessian"},
          {"bits", table.bits},
          {"rows", table.rows},
          {"float_loss", table.float_loss},
          {"eight_bit_loss", table.eight_bit_loss},
          {"sites", sites}};
}

std::string sensitivity_table(const Sensitivities& table) {
  const bool traces = table.method == SensitivityMethod::hessian;
  Row head{"site", "parameters", "MACs"};
  if (traces) head.insert(head.end(), {"trace", "error"});
  for (const int bits : table.bits) head.push_back(std::to_string(bits) + " bits");
  std::vector<Row> rows{head};
  for (const GroupSensitivity& one : table.groups) {
    Row row{one.group.name(), std::to_string(one.group.parameters()),
            std::to_string(one.group.macs)};
    if (traces) {
      row.push_back(number("%.4g", one.trace ? one.trace->trace : 0.0));
      row.push_back(number("%.2g", one.trace ? one.trace->standard_error : 0.0));
    }
    for (const double value : one.values) row.push_back(number("%.4g", value));
    rows.push_back(row);
  }
  return table_of(rows);
}

std::string candidate_table(const Sensitivities& table, const Candidate& found) {
  std::vector<Row> rows{{"site", "parameters", "MACs", "bits"}};
  for (size_t i = 0; i < table.groups.size(); ++i) {
    const BitGroup& group = table.groups[i].group;
    rows.push_back({group.name(), std::to_string(group.parameters()), std::to_string(group.macs),
                    std::to_string(found.bits[i])});
  }
  return table_of(rows);
}

std::string comparison_table(const std::vector<Candidate>& candidates) {
  std::vector<Row> rows{{"recipe", "bytes", "bit operations", "predicted", "loss", "accuracy"}};
  for (const Candidate& one : candidates) {
    rows.push_back({one.name, std::to_string(one.bytes), std::to_string(one.bit_operations),
                    number("%+.5f", one.increase), number("%.5f", one.loss),
                    number("%.4f", one.accuracy)});
  }
  return table_of(rows);
}

std::string accuracy_plot(Measure measure, const std::vector<Candidate>& mixed,
                          const std::vector<Candidate>& uniform) {
  const bool bytes = measure == Measure::bytes;
  const double unit = bytes ? 1024.0 : 1e6;
  const auto point = [&](const Candidate& one) {
    return std::pair{static_cast<double>(one.cost(measure)) / unit, one.accuracy};
  };
  std::vector<Series> series{{"mixed", "#1f77b4", {}}};
  for (const Candidate& one : mixed) series[0].points.push_back(point(one));
  for (const Candidate& one : uniform) series.push_back({one.name, "#d62728", {point(one)}});
  std::string svg = line_chart("Accuracy without training",
                               bytes ? "weights, KiB" : "bit operations, millions", series);
  // Inside of a page the style sheet and the name space are the page's.
  const std::string open = "<svg ";
  svg.replace(0, open.size(), "<svg xmlns='http://www.w3.org/2000/svg' ");
  svg.insert(svg.find('>') + 1,
             "<style>text{font:12px sans-serif}.title{font-weight:bold}.grid{stroke:#ddd}</style>");
  return svg;
}

}  // namespace qat::train
