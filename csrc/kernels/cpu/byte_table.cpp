#include "kernels/cpu/byte_table.h"

#include <string_view>

#include "kernels/cpu/intrinsics.h"
#include "kernels/cpu/kernels.h"

namespace qat::kernels {
namespace {

#if defined(__x86_64__)
// vpermi2b looks 64 bytes up in 128; the highest bit of a code chooses between the halves.
__attribute__((target("avx512f,avx512bw,avx512vbmi"))) void map_vectors(const uint8_t* from,
                                                                        uint8_t* to, int64_t n,
                                                                        const ByteTable& table) {
  __m512i part[4];
  for (int i = 0; i < 4; ++i) part[i] = _mm512_loadu_si512(table.data() + 64 * i);
  for (int64_t i = 0; i < n; i += 64) {
    const __mmask64 mask = n - i < 64 ? (__mmask64{1} << (n - i)) - 1 : ~__mmask64{0};
    const __m512i codes = _mm512_maskz_loadu_epi8(mask, from + i);
    const __m512i low = _mm512_permutex2var_epi8(part[0], codes, part[1]);
    const __m512i high = _mm512_permutex2var_epi8(part[2], codes, part[3]);
    _mm512_mask_storeu_epi8(to + i, mask,
                            _mm512_mask_blend_epi8(_mm512_movepi8_mask(codes), low, high));
  }
}

// QAT_CPU_CAPABILITY chooses here too.
bool has_vector_tables() {
  return std::string_view(kernels().name) == "avx512" && __builtin_cpu_supports("avx512vbmi");
}
#endif

}  // namespace

void map_bytes(const uint8_t* from, uint8_t* to, int64_t n, const ByteTable& table) {
#if defined(__x86_64__)
  static const bool vectors = has_vector_tables();
  if (vectors) return map_vectors(from, to, n, table);
#endif
  map_each(from, to, n, table);
}

}  // namespace qat::kernels
