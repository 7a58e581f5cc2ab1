// A mean over all positions. Its gradient needs no value and is not spread out before it is added
// to something.

#include "insert/node_mean.h"

#include <ATen/TensorOperators.h>

#include "insert/gradient_node.h"

namespace qat::insert {
namespace {

struct MeanDerivative {
  static constexpr const char* kName = "qat_ext::MeanBackward";
  std::vector<int64_t> sizes;
  template <typename F>
  void tensors(F&&) {}
  variable_list operator()(const variable_list& grads, const Wanted&) const {
    std::vector<int64_t> one(sizes.size(), 1);
    std::copy_n(sizes.begin(), 2, one.begin());
    const auto positions =
        static_cast<double>(c10::multiply_integers(sizes.begin() + 2, sizes.end()));
    return {(grads[0].reshape(one) / positions).expand(sizes)};
  }
};

}  // namespace

at::Tensor mean_of_positions(const at::Tensor& quantized, at::Tensor real) {
  if (!wants_gradient({&quantized})) return real;
  return attached(std::move(real), MeanDerivative{quantized.sizes().vec()}, {&quantized});
}

}  // namespace qat::insert
