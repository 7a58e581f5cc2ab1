#pragma once
// bfloat16 autocast of a phase.

namespace qat::train {

// Switches autocast to bfloat16 on until destroyed, where asked for.
class AutocastGuard {
 public:
  explicit AutocastGuard(bool on);
  ~AutocastGuard();
  AutocastGuard(const AutocastGuard&) = delete;
  AutocastGuard& operator=(const AutocastGuard&) = delete;

 private:
  bool on_, before_;
};

}  // namespace qat::train
