#pragma once
// qat_ext for C++: #include <qat.h>, link QatExt::qat_ext.
//
//   auto prepared = qat::prepare(model, {example}, qat::Recipe::named("int8"));
//   ... an ordinary training loop on prepared->forward(x), model->parameters() and, where the
//       recipe learns scales, prepared->parameters() ...
//   prepared->step(1.0);
//   model->eval();
//   auto integer = qat::convert(*prepared);
//   integer.save("model.safetensors");

#include <torch/nn/module.h>

#include <memory>
#include <vector>

#include "error.h"
#include "insert/prepared_model.h"
#include "lower/integer_model.h"
#include "objectives/attack.h"
#include "objectives/distillation.h"
#include "ptq/ptq.h"
#include "quantizers/recipe.h"

namespace qat {

// Prepares any module that has `forward(at::Tensor) -> at::Tensor`. `model` is a module holder
// (torch::nn::Sequential, a TORCH_MODULE) or a shared_ptr to a module; it stays the owner of its
// parameters. examples: one input per example, axis 0 is the batch.
template <typename Holder>
std::shared_ptr<PreparedModel> prepare(Holder model, const std::vector<at::Tensor>& examples,
                                       const Recipe& recipe = {}) {
  auto access = ModelAccess{
      .forward = [model](const TensorList& inputs) mutable -> TensorList {
        return {model->forward(inputs.at(0))};
      },
      .tensors =
          [model] {
            NamedTensors all;
            for (const auto& item : model->named_parameters())
              all.emplace_back(item.key(), item.value());
            for (const auto& item : model->named_buffers())
              all.emplace_back(item.key(), item.value());
            return all;
          },
      .is_training = [model] { return model->is_training(); },
      .train = [model](bool on) mutable { model->train(on); },
  };
  std::vector<TensorList> lists;
  for (const auto& example : examples) lists.push_back({example});
  return PreparedModel::create(std::move(access), lists, recipe);
}

}  // namespace qat
