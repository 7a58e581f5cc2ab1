#include "train/report_html.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "train/svg.h"

namespace qat::train {
namespace {

using Json = nlohmann::json;

constexpr const char* kStyle =
    "body{font:15px/1.5 sans-serif;max-width:1180px;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .8em;text-align:right;"
    "border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}"
    "svg{margin:.5em 1em .5em 0}svg text{font:12px sans-serif}svg .title{font-weight:bold}"
    "svg .grid{stroke:#ddd}.bad{color:#b00020;font-weight:bold}";

constexpr const char* kBlue = "#1f6fb4";
constexpr const char* kOrange = "#d9730d";

std::string number(const char* pattern, double value) {
  char text[48];
  std::snprintf(text, sizeof text, pattern, value);
  return text;
}

std::string row(const std::vector<std::string>& cells, const char* tag = "td") {
  std::string text = "<tr>";
  for (const auto& cell : cells) {
    text += std::string("<") + tag + ">" + escape_html(cell) + "</" + tag + ">";
  }
  return text + "</tr>\n";
}

// Points of every history row that has `key`, by step.
Series series(const Json& history, const std::string& name, const std::string& color,
              const std::string& key) {
  Series result{name, color, {}};
  for (const auto& entry : history) {
    if (entry.contains(key) && entry[key].is_number()) {
      result.points.emplace_back(entry.at("step").get<double>(), entry[key].get<double>());
    }
  }
  return result;
}

std::string curves(const Json& history) {
  return "<h2>Training</h2>\n" +
         line_chart("Loss", "step",
                    {series(history, "validation", kOrange, "validation_loss"),
                     series(history, "training batches", kBlue, "loss")}) +
         line_chart("Accuracy", "step",
                    {series(history, "validation", kOrange, "validation_accuracy"),
                     series(history, "training", kBlue, "train_accuracy")}) +
         line_chart("Learning rate", "step", {series(history, "rate", kBlue, "lr")});
}

std::string overview(const Json& report) {
  const Json& size = report.at("size");
  const Json& verify = report.at("verify");
  std::string text = "<h2>Float and int8</h2>\n<table>" + row({"", "float", "int8"}, "th");
  const auto pair = [&](const char* name, const char* pattern, double a, double b) {
    text += row({name, number(pattern, a), number(pattern, b)});
  };
  pair("Accuracy", "%.4f", report["float"]["accuracy"], report["int8"]["accuracy"]);
  pair("Loss", "%.4f", report["float"]["loss"], report["int8"]["loss"]);
  if (const Json& robust = report.at("robustness"); robust.is_object()) {
    const std::string name = "Accuracy under PGD-" + std::to_string(robust["steps"].get<int>()) +
                             ", epsilon " + number("%.4g", robust["epsilon"]);
    pair(name.c_str(), "%.4f", robust["float_accuracy"], robust["int8_accuracy"]);
  }
  pair("File, bytes", "%.0f", size.at("float_bytes"), size.at("int8_bytes"));
  for (const auto& entry : report.at("latency")) {
    const std::string name =
        "Latency at batch " + std::to_string(entry.at("batch").get<int64_t>()) + ", ms";
    pair(name.c_str(), "%.3f", entry.at("float_ms"), entry.at("int8_ms"));
  }
  text += "</table>\n";
  const int64_t differing = verify.at("differing_logits");
  const bool equal = differing == 0 && verify.at("differing_parameters") == 0;
  text += std::string("<p") + (equal ? ">" : " class='bad'>") +
          "Verification: " + std::to_string(differing) + " of " +
          std::to_string(verify.at("logits").get<int64_t>()) +
          " logits differ in any bit between the trained model and the int8 file";
  if (!equal) text += ", first at " + escape_html(verify.at("first_difference"));
  text += ". Multiply-accumulates executed in integers: " +
          number("%.2f", 100 * report.at("integer_fraction").get<double>()) + " %.</p>\n";
  return text;
}

std::string classes(const Json& report) {
  const Json &before = report["float"]["classes"], &after = report["int8"]["classes"];
  std::string text =
      "<h2>Classes</h2>\n<table>" + row({"class", "samples", "precision float", "int8",
                                         "recall float", "int8", "F1 float", "int8"},
                                        "th");
  for (size_t c = 0; c < before.size(); ++c) {
    std::vector<std::string> cells = {std::to_string(c),
                                      std::to_string(before[c]["samples"].get<int64_t>())};
    for (const char* key : {"precision", "recall", "f1"}) {
      cells.push_back(number("%.4f", before[c][key]));
      cells.push_back(number("%.4f", after[c][key]));
    }
    text += row(cells);
  }
  return text + "</table>\n";
}

std::string decibels(const Json& value) { return value.is_number() ? number("%.1f", value) : "-"; }

std::string weights(const Json& report) {
  std::vector<Bar> ratios;
  std::string table = "<table>" + row({"layer", "operator", "bits", "SNR, dB"}, "th");
  for (const auto& layer : report.at("layers")) {
    const Json& ratio = layer.at("weight_snr_db");
    table += row({layer.at("name"), layer.at("operator"),
                  std::to_string(layer.at("bits").get<int>()), decibels(ratio)});
    if (ratio.is_number()) ratios.push_back({layer.at("name"), 0, ratio, number("%.1f dB", ratio)});
  }
  return "<h2>Weights</h2>\n" +
         bar_chart("Signal-to-noise ratio of the weight codes", kBlue, ratios) + table +
         "</table>\n";
}

std::string ranges(const Json& report) {
  std::vector<Bar> bars;
  std::string table = "<table>" + row({"codes", "lowest", "highest", "scale", "zero point"}, "th");
  for (const auto& range : report.at("ranges")) {
    const double low = range.at("low"), high = range.at("high"), scale = range.at("scale");
    bars.push_back({range.at("name"), low, high, number("%.3g", scale)});
    table += row({range.at("name"), number("%.4g", low), number("%.4g", high),
                  number("%.6g", scale), std::to_string(range.at("zero_point").get<int>())});
  }
  return bar_chart("Range of the activation codes (behind it: the scale)", kOrange, bars) + table +
         "</table>\n";
}

std::string signals(const Json& report) {
  std::vector<Bar> ratios;
  std::string table = "<table>" + row({"site", "least value", "greatest", "SNR, dB"}, "th");
  for (const auto& signal : report.at("signals")) {
    const Json& ratio = signal.at("snr_db");
    table += row({signal.at("name"), number("%.4g", signal.at("low")),
                  number("%.4g", signal.at("high")), decibels(ratio)});
    if (ratio.is_number())
      ratios.push_back({signal.at("name"), 0, ratio, number("%.1f dB", ratio)});
  }
  return bar_chart("Signal-to-noise ratio of the activation codes", kBlue, ratios) + table +
         "</table>\n";
}

std::string activations(const Json& report) {
  return "<h2>Activations</h2>\n" + ranges(report) +
         "<p>The same sites in float and on codes, on one batch of the validation data; the noise "
         "of "
         "everything before a site is part of its own.</p>\n" +
         signals(report);
}

}  // namespace

std::string report_html(const Json& report) {
  const std::string title = escape_html(report.at("job").get<std::string>());
  const Json& data = report.at("dataset");
  const auto rows = [&](const char* split) {
    return std::to_string(data.at(split).get<int64_t>());
  };
  return "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>" + title +
         "</title><style>" + kStyle + "</style></head><body>\n<h1>" + title + "</h1>\n<p>Recipe " +
         escape_html(report.at("recipe")) + ", seed " +
         std::to_string(report.at("seed").get<int64_t>()) + ". Rows: " + rows("train") +
         " to train, " + rows("validation") + " to choose the epoch, " + rows("test") +
         " to test. Data " + escape_html(data.at("digest")) + "</p>\n" + overview(report) +
         curves(report.at("history")) + classes(report) + weights(report) + activations(report) +
         "</body></html>\n";
}

}  // namespace qat::train
