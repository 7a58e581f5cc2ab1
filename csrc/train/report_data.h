#pragma once
// report.json: everything that the report shows, as numbers.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "graph/model.h"
#include "insert/prepared_model.h"
#include "train/evaluate.h"
#include "train/latency.h"
#include "train/run.h"

namespace qat::train {

struct ReportInputs {
  const Session& session;
  const Evaluation &before, &after;
  const graph::Model& model;
  const Summary& summary;
  double integer_fraction = 0;
  int64_t float_bytes = 0, int8_bytes = 0;
  std::vector<Latency> latency;
  std::vector<SiteSignal> signals;
  std::string metrics_path;
};

nlohmann::json report_data(const ReportInputs& inputs);

}  // namespace qat::train
