#pragma once
// report.html: one page without any outside resource, made from report.json.

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace qat::train {

std::string report_html(const nlohmann::json& report);

}  // namespace qat::train
