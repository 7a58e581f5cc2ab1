#pragma once
// Recognising in a later forward the operator calls that capture saw.

#include <c10/util/ArrayRef.h>
#include <c10/util/flat_hash_map.h>

#include <cstdint>
#include <string>

namespace qat::capture {

// Note [Site keys]
// A call is recognised by what it is and where its data come from: the operator's stem, the site of
// the latest operator with parameters upstream of each operand, and a counter for equal cases.
// Scalars are left out, since they vary with the batch, and so are operators in between, since
// training inserts some (stochastic depth). An operator with parameters of its own is recognised by
// their name alone. Capture and every planned forward run the same class over the calls they see.
//
// An ancestor is the latest site with parameters upstream of a value.
struct Ancestor {
  int64_t order = -1;  // position in the order of execution; -1: neither input nor parameters
  uint64_t hash = 0;
};

class SiteKeys {
 public:
  static Ancestor input() { return {0, hash_string("input")}; }

  struct Site {
    uint64_t key;
    Ancestor ancestor;   // of the results
    int64_t repeat;      // how many earlier calls were equal but for this counter
    uint64_t first_key;  // the key with repeat 0
  };

  // A call with parameters: `parameter` names the first.
  Site parametric(const std::string& stem, const std::string& parameter) {
    Site site = counted(combine(hash_string(stem), hash_string(parameter)));
    site.ancestor = {++order_, site.key};
    return site;
  }

  // Any other call. operands: the ancestor of each tensor operand, in order.
  Site plain(const std::string& stem, c10::ArrayRef<Ancestor> operands) {
    uint64_t base = hash_string(stem);
    Ancestor latest;
    for (const Ancestor& ancestor : operands) {
      base = combine(base, ancestor.hash);
      if (ancestor.order > latest.order) latest = ancestor;
    }
    Site site = counted(base);
    site.ancestor = latest;
    return site;
  }

 private:
  static uint64_t hash_string(const std::string& text) {
    uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
    for (const unsigned char c : text) hash = (hash ^ c) * 0x100000001b3u;
    return hash;
  }
  static uint64_t combine(uint64_t a, uint64_t b) {
    uint64_t x = a ^ (b + 0x9e3779b97f4a7c15u + (a << 6) + (a >> 2));  // splitmix64 finisher
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }

  Site counted(uint64_t base) {
    const int64_t repeat = counts_[base]++;
    return {combine(base, static_cast<uint64_t>(repeat)), {}, repeat, combine(base, 0)};
  }

  int64_t order_ = 0;
  ska::flat_hash_map<uint64_t, int64_t> counts_;
};

// "layer1.0.conv1.weight" -> "layer1.0.conv1"; "weight" -> "".
inline std::string parent_name(const std::string& name) {
  const auto dot = name.rfind('.');
  return dot == std::string::npos ? std::string() : name.substr(0, dot);
}

}  // namespace qat::capture
