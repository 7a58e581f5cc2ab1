#include "train/autocast.h"

#include <ATen/autocast_mode.h>

namespace qat::train {

AutocastGuard::AutocastGuard(bool on)
    : on_(on), before_(at::autocast::is_autocast_enabled(at::kCPU)) {
  if (!on_) return;
  at::autocast::set_autocast_enabled(at::kCPU, true);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
}

AutocastGuard::~AutocastGuard() {
  if (!on_) return;
  at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(at::kCPU, before_);
}

}  // namespace qat::train
