#pragma once
// The arguments of a chain operator as raw pointers for the kernels.

#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "kernels/cpu/kernels.h"
#include "kernels/cpu/tile.h"
#include "ops/chain.h"

namespace qat::ops {

// Memory for the parameters of small tensors on the stack, for others on the heap.
class TileMemory {
 public:
  // `count` values of four bytes each, uninitialised.
  template <typename T>
  T* take(int64_t count) {
    static_assert(sizeof(T) == sizeof(float) && alignof(T) == alignof(float));
    return static_cast<T*>(take_words(static_cast<size_t>(count)));
  }

 private:
  static constexpr size_t kWords = 1024;  // eight parameters of 128 elements
  void* take_words(size_t count);

  std::array<float, kWords> near_;
  size_t used_ = 0;
  std::vector<std::unique_ptr<float[]>> far_;
};

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
  int64_t elements() const { return elements_; }
  int64_t channels() const { return channels_; }
  int64_t rows() const { return channels_ == 0 ? 0 : elements_ / channels_; }

  // A per-channel tensor as a tile that lives as long as the view; absent: `otherwise`.
  const float* tiled(const OptionalTensor& per_channel, float otherwise);
  const float* tiled(const std::vector<float>& per_channel);

  // Calls run(begin, end) on ranges of whole tiles that cover all elements, concurrently.
  void for_each_range(const std::function<void(int64_t begin, int64_t end)>& run) const;

  // Sums over rows in the fixed order of tile.h: run adds the elements begin..end of one block to
  // `sums` arrays of a tile's columns each. Returns `sums` vectors with one sum per channel.
  std::vector<std::vector<double>> sum_over_rows(
      int sums,
      const std::function<void(int64_t begin, int64_t end, double* const* columns)>& run) const;

 private:
  void set_residual(const ChainArguments& arguments);
  void set_quantizer(const QuantizerArguments& quantizer);
  // values: one entry or one per channel.
  template <typename T>
  const T* tile_of(const T* values, int64_t count);
  template <typename T>
  const T* tile_of(const at::Tensor& per_channel);

  at::Tensor acc_, residual_;
  int64_t channels_, elements_;
  kernels::Tile tile_;
  int64_t filled_;  // of a tile's width; no kernel reads columns that the tensor does not have
  kernels::Chain chain_;
  TileMemory memory_;
};

}  // namespace qat::ops
