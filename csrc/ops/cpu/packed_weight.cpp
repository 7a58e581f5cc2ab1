#include "ops/cpu/packed_weight.h"

#include <c10/core/UndefinedTensorImpl.h>

#include <algorithm>
#include <list>
#include <mutex>

namespace qat::ops {
namespace {

using WeakTensor = c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>;

struct Entry {
  c10::TensorImpl* address;
  WeakTensor weight;
  uint32_t version;
  std::vector<int64_t> key;
  Packed packed;
};

// More layers than a ResNet-152 has, each with the shapes of training and of evaluation.
constexpr size_t kMostEntries = 512;

class Cache {
 public:
  Packed find(const at::Tensor& weight, const std::vector<int64_t>& key) {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) {
      return e.address == weight.unsafeGetTensorImpl() && !e.weight.expired() &&
             e.version == weight._version() && e.key == key;
    });
    return found == entries_.end() ? nullptr : found->packed;
  }

  void insert(const at::Tensor& weight, const std::vector<int64_t>& key, const Packed& packed) {
    const std::lock_guard lock(mutex_);
    entries_.remove_if([&](const Entry& e) {
      const bool stale =
          e.address == weight.unsafeGetTensorImpl() && e.version != weight._version();
      return stale || e.weight.expired();
    });
    if (entries_.size() >= kMostEntries) entries_.pop_front();
    entries_.push_back({weight.unsafeGetTensorImpl(), WeakTensor(weight.getIntrusivePtr()),
                        static_cast<uint32_t>(weight._version()), key, packed});
  }

 private:
  std::mutex mutex_;
  std::list<Entry> entries_;
};

// Never destroyed: tensors must not be freed after torch's own globals at exit.
Cache& cache() {
  static auto* instance = new Cache;
  return *instance;
}

}  // namespace

Packed packed_weight(const at::Tensor& weight, const std::vector<int64_t>& key,
                     const std::function<Packed()>& pack) {
  if (weight.is_inference()) return pack();  // has no version counter
  Packed result = cache().find(weight, key);
  if (result) return result;
  result = pack();
  cache().insert(weight, key, result);
  return result;
}

}  // namespace qat::ops
