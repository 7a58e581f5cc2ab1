#pragma once
// Forwards over calibration batches that show the values at sites.

#include <functional>
#include <string>

#include "insert/engine.h"
#include "ptq/ptq.h"

namespace qat::ptq {

// Throws qat::Error "<step>: ...".
void require_eval(PreparedModel& prepared, const char* step);
void require_batches(const Batches& batches, const char* step);

using Tap = std::function<void(const std::string& site, const at::Tensor& value)>;

// The values of one forward at the sites that `wanted` names; phase and taps are as before
// afterwards. A value belongs to the model: it may be overwritten once the tap returns.
void forward(Engine& engine, Phase phase, const TensorList& inputs,
             const std::vector<std::string>& wanted, const Tap& tap);

// The model with the reference's values, until destroyed.
class ReferenceGuard {
 public:
  ReferenceGuard(Engine& engine, const Reference& reference);
  ~ReferenceGuard();
  ReferenceGuard(const ReferenceGuard&) = delete;
  ReferenceGuard& operator=(const ReferenceGuard&) = delete;

 private:
  std::vector<std::pair<at::Tensor, at::Tensor>> saved_;
};

// Mean and variance of each channel over any number of batches, in double.
class ChannelMoments {
 public:
  void add(const at::Tensor& values, int64_t axis);
  at::Tensor mean() const { return mean_; }
  at::Tensor variance() const;  // unbiased, as batch norm keeps it

 private:
  at::Tensor mean_, squares_;  // sum of squared distances from the mean
  double count_ = 0;
};

}  // namespace qat::ptq
