// Pools and means.

#include "graph/shapes.h"
#include "graph/spelling.h"
#include "graph/validate_node.h"

namespace qat::graph {
namespace {

size_t spatial_axes(const NodeCheck& node, const std::vector<int64_t>& kernel) {
  const size_t rank = node.input().shape.size();
  node.require(rank >= 3 && rank <= 5,
               "input must be [N, C, 1 to 3 spatial axes], got " + to_text(node.input().shape));
  node.require_list("kernel", kernel, rank - 2, 1);
  return rank - 2;
}

struct PoolWindows {
  const std::vector<int64_t>& kernel;
  const std::vector<int64_t>& stride;
  const std::vector<int64_t>& padding;
  const std::vector<int64_t>& dilation;
  bool ceil_mode;
};

void require_pool(const NodeCheck& node, const PoolWindows& a) {
  const size_t axes = spatial_axes(node, a.kernel);
  node.require_list("stride", a.stride, axes, 1);
  node.require_list("padding", a.padding, axes, 0);
  node.require_list("dilation", a.dilation, axes, 1);
  Shape expected = node.input().shape;
  for (size_t i = 0; i < axes; ++i) {
    const Window window{a.kernel[i], a.stride[i], a.padding[i], a.dilation[i]};
    const int64_t extent = window.dilation * (window.kernel - 1) + 1;
    node.require(window.padding <= extent / 2, "padding must be at most half the kernel, got " +
                                                   to_text(a.padding) + " and kernel " +
                                                   to_text(a.kernel));
    node.require(
        is_constant(expected[i + 2]),
        "sizes of spatial axes must be constant, got input " + to_text(node.input().shape));
    const int64_t size = pool_size(expected[i + 2].constant, window, a.ceil_mode);
    node.require(size >= 1, "the kernel does not fit input " + to_text(node.input().shape));
    expected[i + 2] = {0, size};
  }
  node.require_output_shape(expected);
}

}  // namespace

void validate_operator(const NodeCheck& node, const MaxPoolAttributes& a) {
  node.require_arity(1);
  node.require_input_type(ElementType::codes);
  node.require_same_parameters();
  require_pool(node, {a.kernel, a.stride, a.padding, a.dilation, a.ceil_mode});
}

void validate_operator(const NodeCheck& node, const AvgPoolAttributes& a) {
  node.require_arity(1);
  node.require_input_type(ElementType::codes);
  node.require_output_type(ElementType::float32);
  const std::vector<int64_t> dilation(a.kernel.size(), 1);
  require_pool(node, {a.kernel, a.stride, a.padding, dilation, a.ceil_mode});
  node.require(a.divisor_override >= 0, "divisor_override must be positive, or 0 for none, got " +
                                            std::to_string(a.divisor_override));
}

void validate_operator(const NodeCheck& node, const AdaptiveAvgPoolAttributes& a) {
  node.require_arity(1);
  node.require_input_type(ElementType::codes);
  node.require_output_type(ElementType::float32);
  Shape expected = node.input().shape;
  const size_t axes = a.output_size.size();
  node.require(axes >= 1 && axes <= 3 && expected.size() >= axes,
               "output_size must have 1 to 3 entries and no more than the input's axes, got " +
                   to_text(a.output_size) + " and input " + to_text(expected));
  node.require_list("output_size", a.output_size, axes, 1);
  for (size_t i = 0; i < axes; ++i) {
    Affine& size = expected[expected.size() - axes + i];
    node.require(
        is_constant(size) && size.constant >= 1,
        "pooled sizes must be constant and positive, got input " + to_text(node.input().shape));
    size = {0, a.output_size[i]};
  }
  node.require_output_shape(expected);
}

void validate_operator(const NodeCheck& node, const MeanAttributes& a) {
  node.require_arity(1);
  node.require_input_type(ElementType::codes);
  node.require_output_type(ElementType::float32);
  node.require(!a.axes.empty(), "axes must not be empty");
  std::vector<bool> reduced(node.input().shape.size());
  for (size_t i = 0; i < a.axes.size(); ++i) {
    node.require_axis("axes", a.axes[i]);
    node.require(i == 0 || a.axes[i - 1] < a.axes[i], "axes must ascend, got " + to_text(a.axes));
    reduced[a.axes[i]] = true;
  }
  Shape expected;
  for (size_t i = 0; i < reduced.size(); ++i) {
    if (!reduced[i]) expected.push_back(node.input().shape[i]);
    if (reduced[i] && a.keepdim) expected.push_back({0, 1});
  }
  node.require_output_shape(expected);
}

}  // namespace qat::graph
