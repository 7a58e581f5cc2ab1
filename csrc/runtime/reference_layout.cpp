// Operators that move elements of any type and change none, and constants.

#include <algorithm>
#include <cstring>

#include "runtime/operators.h"
#include "runtime/strided_copy.h"

namespace qat::runtime {
namespace {

// The output filled by one strided read of the input, given as `view` with `from`; `view` is the
// output's shape up to axes that are merged.
Bound gather(const Binding& at, const Sizes& view, const StridedSide& from) {
  const View* input = at.inputs[0];
  const StridedCopy copy(graph::element_size(input->type), view, {row_major_strides(view), 0},
                         from);
  return [copy, input, output = at.output](int threads, MacCount&) {
    copy.run(output->data, input->data, threads);
  };
}

// One input into a part of the output.
struct Part {
  const View* input;
  StridedCopy copy;

  Part(const View* from, const StridedSide& to)
      : input(from),
        copy(graph::element_size(from->type), from->shape, to,
             {row_major_strides(from->shape), 0}) {}
};

void check_axis(const Site& site, int64_t axis) {
  const auto rank = static_cast<int64_t>(site.input(0).shape.size());
  if (axis < 0 || axis >= rank) {
    fail(site.node,
         "axis " + std::to_string(axis) + " is outside an input of rank " + std::to_string(rank));
  }
}

Sizes concat_shape(const Site& site, const std::vector<const View*>& inputs, size_t axis) {
  Sizes shape = inputs[0]->shape;
  shape[axis] = 0;
  for (const View* input : inputs) {
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

Binder make_concat(const Site& site, const graph::ConcatAttributes& attributes) {
  check_axis(site, attributes.axis);
  return [site, axis = static_cast<size_t>(attributes.axis)](const Binding& at) -> Bound {
    const Sizes shape = concat_shape(site, at.inputs, axis);
    check_made(site.node, at.inputs[0]->type, shape, *at.output);
    StridedSide to{row_major_strides(shape), 0};
    std::vector<Part> parts;
    for (const View* input : at.inputs) {
      parts.emplace_back(input, to);
      to.offset += input->shape[axis] * to.strides[axis];
    }
    return [parts, output = at.output](int threads, MacCount&) {
      for (const Part& part : parts) part.copy.run(output->data, part.input->data, threads);
    };
  };
}

Binder make_pad(const Site& site, const graph::PadAttributes& attributes) {
  const size_t rank = site.input(0).shape.size();
  if (attributes.before.size() != rank || attributes.after.size() != rank) {
    fail(site.node, "needs one number before and one after per axis, rank " + std::to_string(rank));
  }
  return [site, attributes](const Binding& at) -> Bound {
    Sizes shape = at.inputs[0]->shape;
    for (size_t i = 0; i < shape.size(); ++i)
      shape[i] += attributes.before[i] + attributes.after[i];
    check_made(site.node, at.inputs[0]->type, shape, *at.output);
    StridedSide to{row_major_strides(shape), 0};
    for (size_t i = 0; i < shape.size(); ++i) to.offset += attributes.before[i] * to.strides[i];
    const int fill = site.input(0).type == graph::ElementType::codes ? attributes.code : 0;
    return [part = Part(at.inputs[0], to), fill, output = at.output](int threads, MacCount&) {
      if (output->numel > 0) std::memset(output->data, fill, output->bytes());
      part.copy.run(output->data, part.input->data, threads);
    };
  };
}

Binder make_reshape(const Site& site, const graph::ReshapeAttributes& attributes) {
  return [site, shape = attributes.shape](const Binding& at) -> Bound {
    const View* input = at.inputs[0];
    const Sizes made = shape_at(shape, at.batch);
    if (product(made) != input->numel) {
      fail(site.node, "cannot give shape " + to_string(made) + " to an input of shape " +
                          to_string(input->shape));
    }
    check_made(site.node, input->type, made, *at.output);
    return [input, output = at.output](int, MacCount&) {
      if (output->numel > 0) std::memcpy(output->data, input->data, output->bytes());
    };
  };
}

Binder make_permute(const Site& site, const graph::PermuteAttributes& attributes) {
  Sizes sorted = attributes.axes;
  std::sort(sorted.begin(), sorted.end());
  for (size_t i = 0; i < sorted.size(); ++i) {
    if (sorted[i] != static_cast<int64_t>(i)) {
      fail(site.node, "axes " + to_string(attributes.axes) + " are not a permutation");
    }
  }
  if (sorted.size() != site.input(0).shape.size()) fail(site.node, "needs one entry per axis");
  return [site, axes = attributes.axes](const Binding& at) {
    const Sizes& input = at.inputs[0]->shape;
    const Sizes strides = row_major_strides(input);
    Sizes shape;
    StridedSide from;
    for (const int64_t axis : axes) {
      shape.push_back(input[static_cast<size_t>(axis)]);
      from.strides.push_back(strides[static_cast<size_t>(axis)]);
    }
    check_made(site.node, at.inputs[0]->type, shape, *at.output);
    return gather(at, shape, from);
  };
}

Binder make_slice(const Site& site, const graph::SliceAttributes& attributes) {
  check_axis(site, attributes.axis);
  if (attributes.step < 1) fail(site.node, "step must be positive");
  return [site, attributes](const Binding& at) {
    Sizes shape = at.inputs[0]->shape;
    const auto axis = static_cast<size_t>(attributes.axis);
    const int64_t start = attributes.start.at(at.batch), stop = attributes.stop.at(at.batch);
    if (start < 0 || stop < start || stop > shape[axis]) {
      fail(site.node, "slice " + std::to_string(start) + ":" + std::to_string(stop) +
                          " is outside axis " + std::to_string(axis) + " of " + to_string(shape));
    }
    StridedSide from{row_major_strides(shape), 0};
    from.offset = start * from.strides[axis];
    from.strides[axis] *= attributes.step;
    shape[axis] = (stop - start + attributes.step - 1) / attributes.step;
    check_made(site.node, at.inputs[0]->type, shape, *at.output);
    return gather(at, shape, from);
  };
}

Binder make_upsample_nearest(const Site& site, const graph::UpsampleNearestAttributes& attributes) {
  if (attributes.factor.size() > site.input(0).shape.size()) {
    fail(site.node, "has more factors than its input has axes");
  }
  return [site, factor = attributes.factor](const Binding& at) {
    const Sizes& shape = at.inputs[0]->shape;
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
    check_made(site.node, at.inputs[0]->type, result, *at.output);
    return gather(at, view, from);
  };
}

const Tensor& constant_tensor(const Site& site, const graph::ConstantAttributes& attributes) {
  const auto found = site.model.tensors.find(attributes.tensor);
  if (found == site.model.tensors.end()) {
    fail(site.node, "the model has no tensor '" + attributes.tensor + "'");
  }
  return found->second;
}

Binder make_constant(const Site& site, const graph::ConstantAttributes& attributes) {
  return [site, tensor = &constant_tensor(site, attributes)](const Binding& at) -> Bound {
    check_made(site.node, tensor->type, tensor->shape, *at.output);
    return [tensor, output = at.output](int, MacCount&) {
      if (output->numel > 0) std::memcpy(output->data, tensor->bytes.data(), output->bytes());
    };
  };
}

}  // namespace qat::runtime
