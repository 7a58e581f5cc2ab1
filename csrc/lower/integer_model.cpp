#include "lower/integer_model.h"

#include <mutex>

#include "checkpoint/checkpoint.h"
#include "error.h"
#include "insert/engine.h"
#include "lower/aten_node.h"
#include "lower/lower.h"
#include "lower/tensors.h"

namespace qat {

IntegerModel::IntegerModel(graph::Model model)
    : model_(std::make_shared<graph::Model>(std::move(model))) {
  runtime::Options options;
  options.aten = lower::aten_evaluator();
  fast_ = runtime::make_fast_executor(*model_, options);
  reference_ = runtime::make_reference_executor(*model_, options);
}

IntegerModel IntegerModel::load(const std::string& path) {
  return IntegerModel(checkpoint::load(path));
}

void IntegerModel::save(const std::string& path) const { checkpoint::save(*model_, path); }

TensorList IntegerModel::forward(const TensorList& inputs, ExecutorKind kind) const {
  std::vector<graph::Tensor> given;
  for (size_t i = 0; i < inputs.size(); ++i) {
    given.push_back(lower::to_graph(inputs[i], "input " + std::to_string(i)));
  }
  const auto& executor = kind == ExecutorKind::fast ? fast_ : reference_;
  TensorList outputs;
  for (const graph::Tensor& output : executor->run(given)) {
    outputs.push_back(lower::to_aten(output));
  }
  macs_ = executor->macs();
  return outputs;
}

double IntegerModel::integer_fraction() const {
  const int64_t all = macs_.integer + macs_.floating;
  return all == 0 ? 0.0 : static_cast<double>(macs_.integer) / static_cast<double>(all);
}

IntegerModel convert(PreparedModel& prepared) {
  return IntegerModel(lower::lower(prepared.engine()));
}

}  // namespace qat
