#include "kernels/cpu/gemm_u8s8.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace qat::kernels::u8s8 {
namespace {

constexpr size_t kAlignment = 64;

// Channel blocks of nearly equal width: 80 channels become 48 + 32, not 64 + 16.
std::vector<ChannelBlock> split(const Kernels& kernels, int64_t outputs, size_t vector_bytes) {
  const int64_t vectors = (outputs + kernels.lanes - 1) / kernels.lanes;
  const int64_t count = (vectors + kernels.max_vectors - 1) / kernels.max_vectors;
  std::vector<ChannelBlock> blocks;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t begin = vectors * i / count, end = vectors * (i + 1) / count;
    const int64_t first = begin * kernels.lanes;
    blocks.push_back({first, std::min(end * kernels.lanes, outputs) - first,
                      static_cast<int>(end - begin), static_cast<size_t>(begin) * vector_bytes});
  }
  return blocks;
}

// Writes one block in the order in which a tile reads it.
template <typename Element>
void pack_block(const PackedWeights& p, const ChannelBlock& block, const WeightView& weight,
                std::byte* to) {
  const int64_t per_step = p.kernels->channels_per_step;
  const int64_t width = block.vectors * p.kernels->lanes;
  auto* out = reinterpret_cast<Element*>(to);
  for (int64_t tap = 0; tap < p.taps; ++tap) {
    for (int64_t c = 0; c < p.padded_inputs(); c += per_step) {
      for (int64_t k = 0; k < width; ++k) {
        for (int64_t j = 0; j < per_step; ++j) {
          const bool exists = k < block.count && c + j < p.inputs;
          const int64_t at = (block.first + k) * weight.filter_stride +
                             (c + j) * weight.channel_stride + tap * weight.tap_stride;
          *out++ = static_cast<Element>(exists ? weight.data[at] : 0);
        }
      }
    }
  }
}

// The same where the four channels of a step lie side by side: one load for four elements.
void pack_words(const PackedWeights& p, const ChannelBlock& block, const WeightView& weight,
                std::byte* to) {
  const int64_t width = block.vectors * p.kernels->lanes;
  auto* out = reinterpret_cast<int32_t*>(to);
  for (int64_t tap = 0; tap < p.taps; ++tap) {
    const int8_t* first =
        weight.data + block.first * weight.filter_stride + tap * weight.tap_stride;
    for (int64_t c = 0; c < p.padded_inputs(); c += 4, out += width) {
      const auto bytes = static_cast<size_t>(std::min<int64_t>(p.inputs - c, 4));
      const int8_t* from = first + c;
      if (bytes == 4) {
        for (int64_t k = 0; k < block.count; ++k, from += weight.filter_stride) {
          std::memcpy(out + k, from, 4);
        }
      } else {
        for (int64_t k = 0; k < block.count; ++k, from += weight.filter_stride) {
          out[k] = 0;
          std::memcpy(out + k, from, bytes);
        }
      }
      std::fill(out + block.count, out + width, 0);
    }
  }
}

std::vector<InstructionSet> find_instruction_sets() {
  std::vector<InstructionSet> found;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512vnni")) {
    found.push_back(InstructionSet::avx512_vnni);
  }
  if (__builtin_cpu_supports("avx2")) found.push_back(InstructionSet::avx2);
#elif defined(__aarch64__)
#if defined(__linux__)
  if ((getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0) found.push_back(InstructionSet::neon_i8mm);
  if ((getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0) found.push_back(InstructionSet::neon_dotprod);
#endif
  found.push_back(InstructionSet::neon);
#endif
  found.push_back(InstructionSet::portable);
  return found;
}

}  // namespace

AlignedBytes::AlignedBytes(size_t size) {
  const size_t rounded = (std::max<size_t>(size, 1) + kAlignment - 1) / kAlignment * kAlignment;
  data_.reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded)));
  if (!data_) throw std::bad_alloc();
}

void AlignedBytes::Free::operator()(std::byte* p) const { std::free(p); }

bool is_supported(InstructionSet set) {
  const auto& sets = instruction_sets();
  return std::find(sets.begin(), sets.end(), set) != sets.end();
}

const std::vector<InstructionSet>& instruction_sets() {
  static const std::vector<InstructionSet> found = find_instruction_sets();
  return found;
}

InstructionSet best_instruction_set() { return instruction_sets().front(); }

const char* to_string(InstructionSet set) {
  switch (set) {
    case InstructionSet::avx512_vnni:
      return "avx512_vnni";
    case InstructionSet::avx2:
      return "avx2";
    case InstructionSet::neon_i8mm:
      return "neon_i8mm";
    case InstructionSet::neon_dotprod:
      return "neon_dotprod";
    case InstructionSet::neon:
      return "neon";
    case InstructionSet::portable:
      break;
  }
  return "portable";
}

const Kernels& kernels_for(InstructionSet set) {
#if defined(__x86_64__)
  if (set == InstructionSet::avx512_vnni) return avx512_vnni_kernels();
  if (set == InstructionSet::avx2) return avx2_kernels();
#elif defined(__aarch64__)
  if (set == InstructionSet::neon_i8mm) return neon_i8mm_kernels();
  if (set == InstructionSet::neon_dotprod) return neon_dotprod_kernels();
  if (set == InstructionSet::neon) return neon_kernels();
#endif
  (void)set;
  return portable_kernels();
}

void pack_weights(PackedWeights& p, const WeightView& weight, int threads) {
  const Kernels& kernels = *p.kernels;
  p.steps = (p.inputs + kernels.channels_per_step - 1) / kernels.channels_per_step;
  const auto vector_bytes = static_cast<size_t>(p.taps * p.steps * kernels.lanes * 4);
  p.blocks = split(kernels, p.outputs, vector_bytes);
  p.group_bytes =
      vector_bytes * static_cast<size_t>((p.outputs + kernels.lanes - 1) / kernels.lanes);
  p.bytes = AlignedBytes(p.group_bytes * static_cast<size_t>(p.groups));
  const auto blocks = static_cast<int64_t>(p.blocks.size());
  const int64_t tasks = p.groups * blocks;
  const auto used = static_cast<int>(std::min<int64_t>(threads, tasks));
#pragma omp parallel for num_threads(used) if (used > 1)
  for (int64_t task = 0; task < tasks; ++task) {
    const int64_t group = task / blocks;
    const ChannelBlock& block = p.blocks[static_cast<size_t>(task % blocks)];
    WeightView from = weight;
    from.data += group * p.outputs * weight.filter_stride;
    std::byte* to = p.bytes.data() + static_cast<size_t>(group) * p.group_bytes + block.offset;
    if (kernels.channels_per_step != 4) {
      pack_block<int16_t>(p, block, from, to);
    } else if (weight.channel_stride == 1) {
      pack_words(p, block, from, to);
    } else {
      pack_block<int8_t>(p, block, from, to);
    }
  }
}

}  // namespace qat::kernels::u8s8
