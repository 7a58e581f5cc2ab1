#include "quantizers/histogram_observer.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <string>

#include "error.h"

namespace qat {
namespace {

int32_t exponent_of(const at::Tensor& tensor) {
  const int64_t exponent = tensor.item<int64_t>();
  if (exponent < numerics::kLowestExponent || exponent > numerics::kHighestExponent) {
    throw Error("observer: exponent: expected an integer from -50 to 118, got " +
                std::to_string(exponent) + "; the checkpoint is damaged.");
  }
  return static_cast<int32_t>(exponent);
}

// How often a tensor has been written in place; -1 where torch does not count (inference mode).
int64_t written(const at::Tensor& tensor) {
  return tensor.is_inference() ? -1 : static_cast<int64_t>(tensor._version());
}

}  // namespace

HistogramObserver::HistogramObserver(const char* name, const ActivationRecipe& recipe)
    : name_(name),
      recipe_(recipe),
      counts_(at::zeros({numerics::kHistogramBins}, at::kLong)),
      exponent_(at::full({1}, numerics::kLowestExponent, at::kLong)),
      extremes_(at::full({2}, INFINITY, at::kFloat)),
      tally_(at::zeros({2}, at::kLong)) {
  extremes_[1].fill_(-INFINITY);
}

void HistogramObserver::observe(const at::Tensor& values) {
  using Observe = void(const at::Tensor&, at::Tensor, at::Tensor, at::Tensor, at::Tensor);
  static const auto observe = c10::Dispatcher::singleton()
                                  .findSchemaOrThrow("qat_ext::observe_histogram_", "")
                                  .typed<Observe>();
  observe.call(values.detach().to(counts_.device()), counts_, exponent_, extremes_, tally_);
}

void HistogramObserver::observe_range(Range) {
  throw Error(std::string("observer ") + name_ +
              ": expected whole tensors, got the range of one; calibrate with values first, and "
              "leave the range alone afterwards.");
}

bool HistogramObserver::empty() const {
  const float* extremes = extremes_.const_data_ptr<float>();
  return !(extremes[0] <= extremes[1]);
}

Range HistogramObserver::range() const {
  const int64_t counts_version = written(counts_), extremes_version = written(extremes_);
  if (!found_ || counts_version < 0 || found_->counts_version != counts_version ||
      found_->extremes_version != extremes_version) {
    const float* extremes = extremes_.const_data_ptr<float>();
    const numerics::Interval range = search(
        {counts_.const_data_ptr<int64_t>(), exponent_of(exponent_), extremes[0], extremes[1]});
    found_ = {counts_version, extremes_version, {range.lo, range.hi}};
  }
  return found_->range;
}

void HistogramObserver::merge(const Observer& observer) {
  const auto* other = dynamic_cast<const HistogramObserver*>(&observer);
  if (other == nullptr) {
    throw Error(std::string("observer ") + name_ +
                ": merge: expected an observer that keeps a histogram, got another kind.");
  }
  const int32_t mine = exponent_of(exponent_), theirs = exponent_of(other->exponent_);
  const int32_t common = std::max(mine, theirs);
  at::Tensor added = other->counts_.clone();
  numerics::widen_bins(added.mutable_data_ptr<int64_t>(), common - theirs);
  numerics::widen_bins(counts_.mutable_data_ptr<int64_t>(), common - mine);
  counts_.add_(added);
  exponent_.fill_(common);
  tally_.add_(other->tally_);
  float* extremes = extremes_.mutable_data_ptr<float>();
  const float* seen = other->extremes_.const_data_ptr<float>();
  extremes[0] = std::min(extremes[0], seen[0]);
  extremes[1] = std::max(extremes[1], seen[1]);
}

NamedTensors HistogramObserver::state() const {
  return {{"counts", counts_}, {"exponent", exponent_}, {"extremes", extremes_}, {"tally", tally_}};
}

}  // namespace qat
