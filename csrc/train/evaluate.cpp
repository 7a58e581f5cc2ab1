#include "train/evaluate.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cross_entropy_loss.h>

#include <numeric>

#include "error.h"

namespace qat::train {
namespace {

double ratio(int64_t part, int64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

int64_t Evaluation::samples() const {
  return std::accumulate(confusion.begin(), confusion.end(), int64_t{0});
}

double Evaluation::accuracy() const {
  int64_t correct = 0;
  for (int64_t c = 0; c < classes; ++c) correct += confusion[c * classes + c];
  return ratio(correct, samples());
}

std::vector<ClassFigures> Evaluation::per_class() const {
  std::vector<ClassFigures> figures;
  for (int64_t c = 0; c < classes; ++c) {
    int64_t actual = 0, predicted = 0;
    for (int64_t other = 0; other < classes; ++other) {
      actual += confusion[c * classes + other];
      predicted += confusion[other * classes + c];
    }
    const int64_t hits = confusion[c * classes + c];
    figures.push_back(
        {ratio(hits, predicted), ratio(hits, actual), ratio(2 * hits, predicted + actual), actual});
  }
  return figures;
}

Evaluation evaluate(const Forward& forward, BatchSource& source, int64_t classes) {
  const at::NoGradGuard no_grad;
  Evaluation result{.loss_sum = 0, .confusion = {}, .classes = classes};
  result.confusion.resize(static_cast<size_t>(classes * classes));
  for (int64_t index = 0; index < source.batches(); ++index) {
    const Batch batch = source.batch(0, index);
    const at::Tensor logits = forward(batch.inputs).to(at::kFloat);
    if (logits.dim() != 2 || logits.size(1) != classes) {
      throw Error("model: expected logits [B, " + std::to_string(classes) + "], got rank " +
                  std::to_string(logits.dim()) + " with last size " +
                  std::to_string(logits.size(-1)));
    }
    result.loss_sum +=
        at::cross_entropy_loss(logits, batch.targets, {}, at::Reduction::Sum).item<double>();
    const at::Tensor predicted = logits.argmax(1);
    const int64_t* guess = predicted.const_data_ptr<int64_t>();
    const int64_t* truth = batch.targets.const_data_ptr<int64_t>();
    for (int64_t i = 0; i < predicted.numel(); ++i) {
      ++result.confusion[static_cast<size_t>(truth[i] * classes + guess[i])];
    }
  }
  return result;
}

}  // namespace qat::train
