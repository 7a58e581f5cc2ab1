#pragma once
// Between ATen's tensors and the integer model's.

#include <ATen/core/Tensor.h>

#include <string>

#include "graph/model.h"

namespace qat::lower {

// Contiguous copy. `what` names the tensor in the error about an element type that integer models
// do not know (float32, int64, bool, int8 and uint8 they do).
graph::Tensor to_graph(const at::Tensor& tensor, const std::string& what);
at::Tensor to_aten(const graph::Tensor& tensor);

}  // namespace qat::lower
