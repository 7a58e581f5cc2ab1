#include "runtime/fast_lookup.h"

#include "runtime/parallel.h"

namespace qat::runtime {
Bound bind_table(const graph::Node& node, const ByteTable& table, const Binding& at) {
  check_made(node, at.inputs[0]->shape, *at.output);
  return [table, from = at.inputs[0], to = at.output](int threads, MacCount&) {
    parallel_for(threads, to->numel, kElementGrain, [&](int64_t begin, int64_t end) {
      kernels::map_bytes(from->as<uint8_t>() + begin, to->as<uint8_t>() + begin, end - begin,
                         table);
    });
  };
}

Binder make_fast_lookup(const Site& site, const graph::LookupAttributes& attributes) {
  const TensorType to = storage_type(site.output());
  if (to == TensorType::float32) return make_lookup(site, attributes);
  const numerics::IntFormat format = site.input(0).format;
  const Tensor& entries =
      node_tensor(site.model, site.node, attributes.table, to, {int64_t{1} << format.bits});
  return [site, table = kernels::indexed_by_byte(entries.data<uint8_t>(), format)](
             const Binding& at) { return bind_table(site.node, table, at); };
}

}  // namespace qat::runtime
