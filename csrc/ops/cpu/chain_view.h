#pragma once
// The arguments of a chain operator as raw pointers for the kernels.

#include <functional>
#include <vector>

#include "kernels/cpu/kernels.h"
#include "kernels/cpu/tile.h"
#include "ops/chain.h"

namespace qat::ops {

// Owns what the pointers of chain() refer to.
class ChainView {
 public:
  explicit ChainView(const ChainArguments& arguments, const QuantizerArguments* quantizer = nullptr,
                     kernels::Tile (*tile_of)(int64_t channels) = kernels::make_tile);
  ChainView(const ChainView&) = delete;
  ChainView& operator=(const ChainView&) = delete;

  const kernels::Chain& chain() const { return chain_; }
  // Not null where acc is float16, which the backward kernels alone can read; chain().acc is null.
  const uint16_t* half_acc() const {
    return chain_.acc == nullptr ? static_cast<const uint16_t*>(acc_.const_data_ptr()) : nullptr;
  }
  const kernels::Tile& tile() const { return tile_; }
  int64_t elements() const { return acc_.numel(); }
  int64_t channels() const { return acc_.size(-1); }
  int64_t rows() const { return channels() == 0 ? 0 : elements() / channels(); }

  // A per-channel tensor as a tile that lives as long as the view; absent: `otherwise`.
  const float* tiled(const OptionalTensor& per_channel, float otherwise);
  const float* tiled(const std::vector<float>& per_channel);

  // Calls run(begin, end) on ranges of whole tiles that cover all elements, concurrently.
  void for_each_range(const std::function<void(int64_t begin, int64_t end)>& run) const;

  // Sums over rows in the fixed order of tile.h: run adds the elements begin..end of one block to
  // `sums` arrays of one tile each. Returns `sums` vectors with one sum per channel.
  std::vector<std::vector<double>> sum_over_rows(
      int sums,
      const std::function<void(int64_t begin, int64_t end, double* const* columns)>& run) const;

 private:
  void set_residual(const ChainArguments& arguments);
  void set_quantizer(const QuantizerArguments& quantizer);
  const float* keep(std::vector<float> values);
  const int32_t* keep(std::vector<int32_t> values);

  at::Tensor acc_, residual_;
  kernels::Tile tile_;
  kernels::Chain chain_;
  std::vector<std::vector<float>> floats_;
  std::vector<std::vector<int32_t>> integers_;
};

}  // namespace qat::ops
