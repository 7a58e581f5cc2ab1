#pragma once
// Data sets as tensors, and the batches that the loop draws from them.

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "train/job.h"

namespace qat::train {

struct Split {
  at::Tensor inputs;   // uint8 or float32 [N, ...]
  at::Tensor targets;  // int64 [N]
};

struct DataSet {
  Split train, validation, test;
  std::vector<int64_t> shape;  // of one sample: [C, H, W] or [F]
  int64_t classes = 0;
  std::vector<double> mean, std;  // per channel, in the units of the model's input
  std::string digest;             // "sha256:..." of everything that was read, before the limit
};

// seed: of the choice of the validation rows.
DataSet load_data(const DataSpec& spec, uint64_t seed);

// Moves `rows` rows of the training split into the validation split. Which ones is a function of
// the seed and the two numbers of rows alone; both parts keep the order they had.
void hold_out(DataSet& data, int64_t rows, uint64_t seed);

// What the model sees of raw values: x * factor + offset, per channel.
struct Normalisation {
  at::Tensor factor, offset;  // [1, C, 1, 1] for images, [1, F] for rows
  at::Tensor operator()(const at::Tensor& raw) const;
};
Normalisation normalisation_of(const DataSet& data, at::ScalarType type);
at::Tensor per_channel(const std::vector<double>& values, int64_t rank);

// Random numbers for one batch that depend on nothing else.
at::Generator random_stream(uint64_t seed, int64_t epoch, int64_t index);

struct Batch {
  at::Tensor inputs;   // float32 [B, ...], normalised
  at::Tensor targets;  // int64 [B]
};

// Where the loop takes its batches from. A batch is a function of (epoch, index) alone, so that a
// run resumes in the middle of an epoch with the very batches it would have seen.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  virtual int64_t batches() const = 0;
  virtual Batch batch(int64_t epoch, int64_t index) = 0;
};

struct BatchOptions {
  int64_t batch = 128;
  bool shuffle = false;  // and drop the last batch when it is not full
  bool flip = false;
  int64_t shift = 0;
  uint64_t seed = 0;
};

class TensorBatches : public BatchSource {
 public:
  TensorBatches(const Split& split, const DataSet& data, const BatchOptions& options);
  int64_t batches() const override;
  Batch batch(int64_t epoch, int64_t index) override;

 private:
  Split split_;
  Normalisation normalise_;
  BatchOptions options_;
  at::Tensor order_;
  int64_t order_epoch_ = -1;
};

}  // namespace qat::train
