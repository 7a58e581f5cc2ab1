// A mean over all positions. Its gradient needs no value and is not spread out before it is added
// to something.

#include "insert/node_mean.h"

#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/custom_function.h>

#include "insert/nodes_common.h"

namespace qat::insert {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

struct MeanNode : Function<MeanNode> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& quantized,
                            const at::Tensor& real) {
    ctx->saved_data["sizes"] = quantized.sizes();
    return real.alias();
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    require_first_order();
    const std::vector<int64_t> sizes = ctx->saved_data["sizes"].toIntVector();
    std::vector<int64_t> one(sizes.size(), 1);
    std::copy_n(sizes.begin(), 2, one.begin());
    const auto positions =
        static_cast<double>(c10::multiply_integers(sizes.begin() + 2, sizes.end()));
    return {(grads[0].reshape(one) / positions).expand(sizes), at::Tensor()};
  }
};

}  // namespace

at::Tensor mean_of_positions(const at::Tensor& quantized, const at::Tensor& real) {
  return MeanNode::apply(quantized, real);
}

}  // namespace qat::insert
