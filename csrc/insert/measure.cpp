// Quantization noise per site: the model runs once in float and once on codes.

#include <ATen/TensorOperators.h>
#include <ATen/ops/aminmax.h>

#include <cmath>
#include <limits>
#include <map>

#include "error.h"
#include "insert/engine.h"
#include "insert/ops_calls.h"

namespace qat {
namespace {

double decibel(const at::Tensor& signal, const at::Tensor& noise) {
  const double s = signal.to(at::kDouble).square().sum().item<double>();
  const double n = noise.to(at::kDouble).square().sum().item<double>();
  return n > 0 ? 10.0 * std::log10(s / n) : std::numeric_limits<double>::infinity();
}

SiteSignal compare(const std::string& site, const at::Tensor& real, const insert::Codes& codes) {
  const at::Tensor values = real.to(at::kFloat);
  const auto [lo, hi] = at::aminmax(values);
  return {site,
          decibel(values, values - insert::call::dequantize(codes)),
          lo.item<float>(),
          hi.item<float>(),
          codes.params.scale,
          codes.params.zero_point};
}

}  // namespace

std::vector<SiteSignal> Engine::measure(const TensorList& inputs) {
  if (access.is_training())
    throw Error("measure: the model is in training mode; call eval() first.");
  at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> reals;
  std::vector<SiteSignal> signals;
  bank.begin_forward({true, false, progress(), false});
  for (const bool quantize : {false, true}) {
    insert::SessionOptions options;
    options.quantize = quantize;
    options.progress = progress();
    insert::Session session(trace, plan, bank, weights, new_record(), options);
    session.start(inputs);
    session.real_probe = [&](const std::string& site, const at::Tensor& real) {
      reals.emplace(site, real.clone());  // in-place operators may follow
    };
    session.probe = [&](const std::string& site, const insert::Codes& codes) {
      const auto real = reals.find(site);
      if (real != reals.end()) signals.push_back(compare(site, real->second, codes));
    };
    run(session, inputs);
  }
  return signals;
}

std::vector<SiteSignal> PreparedModel::measure(const TensorList& inputs) {
  return engine_->measure(inputs);
}

}  // namespace qat
