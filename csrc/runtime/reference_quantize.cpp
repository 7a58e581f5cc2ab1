// Rules 2, 3 and 11: between floats and codes, and tables of codes.

#include <cstring>

#include "numerics/quantize.h"
#include "runtime/operators.h"
#include "runtime/parallel.h"
#include "runtime/quantize_ranges.h"

namespace qat::runtime {
namespace {

template <typename Code>
QAT_INLINE void dequantize_loop(const Code* codes, float* x, int64_t n, numerics::QuantParams p) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) x[i] = numerics::dequantize(codes[i], p.zero_point, p.scale);
}

}  // namespace

QAT_MULTIVERSION void quantize_range(const float* x, uint8_t* codes, int64_t n,
                                     numerics::QuantParams params, numerics::IntFormat format) {
  const float inverse = numerics::inverse_scale(params.scale);
  const float zero_point = numerics::to_float(params.zero_point);
  const float quant_min = numerics::to_float(format.quant_min());
  const float quant_max = numerics::to_float(format.quant_max());
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    codes[i] =
        static_cast<uint8_t>(numerics::quantize(x[i], inverse, zero_point, quant_min, quant_max));
  }
}

QAT_MULTIVERSION void dequantize_range(const uint8_t* codes, float* x, int64_t n,
                                       numerics::QuantParams params, bool is_signed) {
  if (is_signed) {
    dequantize_loop(reinterpret_cast<const int8_t*>(codes), x, n, params);
  } else {
    dequantize_loop(codes, x, n, params);
  }
}

namespace {

template <typename Entry>
void lookup_range(const uint8_t* codes, const Entry* by_byte, Entry* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = by_byte[codes[i]];
}

// The table indexed by the stored byte of a code instead of code - quant_min.
template <typename Entry>
std::vector<Entry> indexed_by_byte(const Entry* table, numerics::IntFormat format) {
  std::vector<Entry> result(256);
  for (int32_t code = format.quant_min(); code <= format.quant_max(); ++code) {
    result[static_cast<uint8_t>(code)] = table[code - format.quant_min()];
  }
  return result;
}

template <typename Entry>
Operator lookup_operator(const Tensor& table, const graph::Value& from, TensorType to,
                         int threads) {
  return [by_byte = indexed_by_byte(table.data<Entry>(), from.format), to, threads](
             const Inputs& inputs, int64_t, MacCount&) {
    Tensor output = make_tensor(to, inputs[0]->shape);
    const uint8_t* codes = inputs[0]->data<uint8_t>();
    Entry* out = output.data<Entry>();
    parallel_for(threads, output.numel(), kElementGrain, [&](int64_t begin, int64_t end) {
      lookup_range(codes + begin, by_byte.data(), out + begin, end - begin);
    });
    return only(std::move(output));
  };
}

}  // namespace

Tensor quantize_tensor(const Tensor& input, const graph::Value& value, int threads) {
  Tensor output = make_tensor(storage_type(value), input.shape);
  const float* x = input.data<float>();
  uint8_t* codes = output.data<uint8_t>();
  parallel_for(threads, output.numel(), kElementGrain, [&](int64_t begin, int64_t end) {
    quantize_range(x + begin, codes + begin, end - begin, value.qparams, value.format);
  });
  return output;
}

Operator make_quantize(const Site& site) {
  return [site](const Inputs& inputs, int64_t, MacCount&) {
    return only(quantize_tensor(*inputs[0], site.output(), site.threads));
  };
}

Operator make_dequantize(const Site& site) {
  return [site](const Inputs& inputs, int64_t, MacCount&) {
    Tensor output = make_tensor(TensorType::float32, inputs[0]->shape);
    const graph::Value& value = site.input(0);
    const uint8_t* codes = inputs[0]->data<uint8_t>();
    float* x = output.data<float>();
    parallel_for(site.threads, output.numel(), kElementGrain, [&](int64_t begin, int64_t end) {
      dequantize_range(codes + begin, x + begin, end - begin, value.qparams,
                       value.format.is_signed);
    });
    return only(std::move(output));
  };
}

Operator make_lookup(const Site& site, const graph::LookupAttributes& attributes) {
  const graph::Value& from = site.input(0);
  const TensorType to = storage_type(site.output());
  const Tensor& table =
      node_tensor(site.model, site.node, attributes.table, to, {int64_t{1} << from.format.bits});
  if (to == TensorType::float32) return lookup_operator<float>(table, from, to, site.threads);
  return lookup_operator<uint8_t>(table, from, to, site.threads);
}

}  // namespace qat::runtime
