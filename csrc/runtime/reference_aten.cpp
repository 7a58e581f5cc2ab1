// Nodes that ATen evaluates, and the count of what they multiply.

#include "runtime/operators.h"

namespace qat::runtime {
namespace {

bool starts_with(const std::string& text, const char* prefix) { return text.rfind(prefix, 0) == 0; }

// Multiply-accumulates of a convolution or linear layer; 0 for any other operator. Each element
// of the output (of a transposed convolution: of the input) meets every weight of its channel.
int64_t floating_macs(const std::string& schema, const Inputs& inputs, const Tensor& output) {
  const bool conv = starts_with(schema, "aten::conv") || starts_with(schema, "aten::_conv");
  if (inputs.size() < 2) return 0;
  const Tensor& x = *inputs[0];
  const Tensor& w = *inputs[1];
  if (conv) {
    if (w.shape.empty() || w.shape[0] == 0) return 0;
    const bool transposed = starts_with(schema, "aten::conv_transpose");
    return (transposed ? x : output).numel() * (w.numel() / w.shape[0]);
  }
  if (starts_with(schema, "aten::linear")) return output.numel() * w.shape.back();
  if (starts_with(schema, "aten::addmm") && inputs.size() > 2) {
    return output.numel() * w.shape.back();
  }
  return 0;
}

}  // namespace

AtenOperator make_aten(const Site& site, const graph::AtenAttributes& attributes,
                       const AtenEvaluator& evaluator) {
  if (!evaluator) {
    fail(site.node, "'" + attributes.schema +
                        "' is evaluated by ATen, which this executor was built without; run the "
                        "model through qat_ext, or set Options::aten");
  }
  return [site, &attributes, evaluator](const Inputs& inputs, int64_t batch, MacCount& macs) {
    std::vector<Tensor> outputs = evaluator(attributes, inputs, batch);
    if (outputs.size() != site.node.outputs.size()) {
      fail(site.node, "'" + attributes.schema + "' returned " + std::to_string(outputs.size()) +
                          " tensors, the graph has " + std::to_string(site.node.outputs.size()));
    }
    macs.floating += floating_macs(attributes.schema, inputs, outputs[0]);
    return outputs;
  };
}

}  // namespace qat::runtime
