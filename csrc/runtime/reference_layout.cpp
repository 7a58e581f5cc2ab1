// Operators that move elements of any type and change none, and constants.

#include <algorithm>
#include <cstring>

#include "runtime/operators.h"
#include "runtime/strided_copy.h"

namespace qat::runtime {
namespace {

// A new tensor filled by one strided read of `input`, given as `view` with `from`; `shape` is the
// result's, equal to the view up to axes that are merged.
Tensor gather(const Tensor& input, const Sizes& view, const StridedSide& from, Sizes shape,
              int threads) {
  Tensor output = make_tensor(input.type, std::move(shape));
  copy_strided(graph::element_size(input.type), view, output.bytes.data(),
               {row_major_strides(view), 0}, input.bytes.data(), from, threads);
  return output;
}

void check_axis(const Site& site, int64_t axis) {
  const auto rank = static_cast<int64_t>(site.input(0).shape.size());
  if (axis < 0 || axis >= rank) {
    fail(site.node,
         "axis " + std::to_string(axis) + " is outside an input of rank " + std::to_string(rank));
  }
}

Sizes concat_shape(const Site& site, const Inputs& inputs, size_t axis) {
  Sizes shape = inputs[0]->shape;
  shape[axis] = 0;
  for (const Tensor* input : inputs) {
    Sizes rest = input->shape;
    if (rest.size() != shape.size()) fail(site.node, "its inputs differ in rank");
    const int64_t size = rest[axis];
    rest[axis] = shape[axis];
    if (rest != shape) {
      fail(site.node, "its inputs differ in an axis that is not joined: " +
                          to_string(inputs[0]->shape) + " and " + to_string(input->shape));
    }
    shape[axis] += size;
  }
  return shape;
}

}  // namespace

Operator make_concat(const Site& site, const graph::ConcatAttributes& attributes) {
  check_axis(site, attributes.axis);
  return [site, axis = static_cast<size_t>(attributes.axis)](const Inputs& inputs, int64_t,
                                                             MacCount&) {
    Tensor output = make_tensor(inputs[0]->type, concat_shape(site, inputs, axis));
    StridedSide to{row_major_strides(output.shape), 0};
    for (const Tensor* input : inputs) {
      copy_strided(graph::element_size(input->type), input->shape, output.bytes.data(), to,
                   input->bytes.data(), {row_major_strides(input->shape), 0}, site.threads);
      to.offset += input->shape[axis] * to.strides[axis];
    }
    return only(std::move(output));
  };
}

Operator make_pad(const Site& site, const graph::PadAttributes& attributes) {
  const size_t rank = site.input(0).shape.size();
  if (attributes.before.size() != rank || attributes.after.size() != rank) {
    fail(site.node, "needs one number before and one after per axis, rank " + std::to_string(rank));
  }
  return [site, attributes](const Inputs& inputs, int64_t, MacCount&) {
    const Tensor& input = *inputs[0];
    Sizes shape = input.shape;
    for (size_t i = 0; i < shape.size(); ++i)
      shape[i] += attributes.before[i] + attributes.after[i];
    Tensor output = make_tensor(input.type, shape);
    StridedSide to{row_major_strides(shape), 0};
    for (size_t i = 0; i < shape.size(); ++i) to.offset += attributes.before[i] * to.strides[i];
    if (site.input(0).type == graph::ElementType::codes) {
      std::memset(output.bytes.data(), attributes.code, output.bytes.size());
    }
    copy_strided(graph::element_size(input.type), input.shape, output.bytes.data(), to,
                 input.bytes.data(), {row_major_strides(input.shape), 0}, site.threads);
    return only(std::move(output));
  };
}

Operator make_reshape(const Site& site, const graph::ReshapeAttributes& attributes) {
  return [site, shape = attributes.shape](const Inputs& inputs, int64_t batch, MacCount&) {
    Tensor output = *inputs[0];
    output.shape = shape_at(shape, batch);
    if (output.numel() != inputs[0]->numel()) {
      fail(site.node, "cannot give shape " + to_string(output.shape) + " to an input of shape " +
                          to_string(inputs[0]->shape));
    }
    return only(std::move(output));
  };
}

Operator make_permute(const Site& site, const graph::PermuteAttributes& attributes) {
  Sizes sorted = attributes.axes;
  std::sort(sorted.begin(), sorted.end());
  for (size_t i = 0; i < sorted.size(); ++i) {
    if (sorted[i] != static_cast<int64_t>(i)) {
      fail(site.node, "axes " + to_string(attributes.axes) + " are not a permutation");
    }
  }
  if (sorted.size() != site.input(0).shape.size()) fail(site.node, "needs one entry per axis");
  return [site, axes = attributes.axes](const Inputs& inputs, int64_t, MacCount&) {
    const Sizes strides = row_major_strides(inputs[0]->shape);
    Sizes shape;
    StridedSide from;
    for (const int64_t axis : axes) {
      shape.push_back(inputs[0]->shape[static_cast<size_t>(axis)]);
      from.strides.push_back(strides[static_cast<size_t>(axis)]);
    }
    return only(gather(*inputs[0], shape, from, shape, site.threads));
  };
}

Operator make_slice(const Site& site, const graph::SliceAttributes& attributes) {
  check_axis(site, attributes.axis);
  if (attributes.step < 1) fail(site.node, "step must be positive");
  return [site, attributes](const Inputs& inputs, int64_t batch, MacCount&) {
    const Tensor& input = *inputs[0];
    const auto axis = static_cast<size_t>(attributes.axis);
    const int64_t start = attributes.start.at(batch), stop = attributes.stop.at(batch);
    if (start < 0 || stop < start || stop > input.shape[axis]) {
      fail(site.node, "slice " + std::to_string(start) + ":" + std::to_string(stop) +
                          " is outside axis " + std::to_string(axis) + " of " +
                          to_string(input.shape));
    }
    Sizes shape = input.shape;
    shape[axis] = (stop - start + attributes.step - 1) / attributes.step;
    StridedSide from{row_major_strides(input.shape), 0};
    from.offset = start * from.strides[axis];
    from.strides[axis] *= attributes.step;
    return only(gather(input, shape, from, shape, site.threads));
  };
}

Operator make_upsample_nearest(const Site& site,
                               const graph::UpsampleNearestAttributes& attributes) {
  if (attributes.factor.size() > site.input(0).shape.size()) {
    fail(site.node, "has more factors than its input has axes");
  }
  return [site, factor = attributes.factor](const Inputs& inputs, int64_t, MacCount&) {
    const Sizes& shape = inputs[0]->shape;
    const Sizes strides = row_major_strides(shape);
    const size_t first = shape.size() - factor.size();
    Sizes result, view;
    StridedSide from;
    for (size_t i = 0; i < shape.size(); ++i) {
      const int64_t times = i < first ? 1 : factor[i - first];
      result.push_back(shape[i] * times);
      view.insert(view.end(), {shape[i], times});  // every element is read `times` times
      from.strides.insert(from.strides.end(), {strides[i], 0});
    }
    return only(gather(*inputs[0], view, from, result, site.threads));
  };
}

Operator make_constant(const Site& site, const graph::ConstantAttributes& attributes) {
  const auto found = site.model.tensors.find(attributes.tensor);
  if (found == site.model.tensors.end()) {
    fail(site.node, "the model has no tensor '" + attributes.tensor + "'");
  }
  return [tensor = &found->second](const Inputs&, int64_t, MacCount&) { return only(*tensor); };
}

}  // namespace qat::runtime
