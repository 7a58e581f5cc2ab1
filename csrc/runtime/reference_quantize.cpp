// Rules 2, 3 and 11: between floats and codes, and tables of codes.

#include "kernels/cpu/byte_table.h"
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
Binder lookup_binder(const Site& site, const Tensor& table, TensorType to) {
  return [site, by_byte = kernels::indexed_by_byte(table.data<Entry>(), site.input(0).format),
          to](const Binding& at) -> Bound {
    check_made(site.node, to, at.inputs[0]->shape, *at.output);
    return [by_byte, input = at.inputs[0], output = at.output](int threads, MacCount&) {
      parallel_for(threads, output->numel, kElementGrain, [&](int64_t begin, int64_t end) {
        kernels::map_each(input->as<uint8_t>() + begin, output->as<Entry>() + begin, end - begin,
                          by_byte);
      });
    };
  };
}

}  // namespace

Binder make_quantize(const Site& site) {
  return [site](const Binding& at) -> Bound {
    const graph::Value& value = site.output();
    check_made(site.node, storage_type(value), at.inputs[0]->shape, *at.output);
    return [&value, from = at.inputs[0], to = at.output](int threads, MacCount&) {
      parallel_for(threads, to->numel, kElementGrain, [&](int64_t begin, int64_t end) {
        quantize_range(from->as<float>() + begin, to->as<uint8_t>() + begin, end - begin,
                       value.qparams, value.format);
      });
    };
  };
}

Binder make_dequantize(const Site& site) {
  return [site](const Binding& at) -> Bound {
    check_made(site.node, TensorType::float32, at.inputs[0]->shape, *at.output);
    return [&value = site.input(0), from = at.inputs[0], to = at.output](int threads, MacCount&) {
      parallel_for(threads, to->numel, kElementGrain, [&](int64_t begin, int64_t end) {
        dequantize_range(from->as<uint8_t>() + begin, to->as<float>() + begin, end - begin,
                         value.qparams, value.format.is_signed);
      });
    };
  };
}

Binder make_lookup(const Site& site, const graph::LookupAttributes& attributes) {
  const TensorType to = storage_type(site.output());
  const Tensor& table = node_tensor(site.model, site.node, attributes.table, to,
                                    {int64_t{1} << site.input(0).format.bits});
  if (to == TensorType::float32) return lookup_binder<float>(site, table, to);
  return lookup_binder<uint8_t>(site, table, to);
}

}  // namespace qat::runtime
