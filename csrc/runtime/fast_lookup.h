#pragma once
// Functions of a single code as tables of bytes.

#include "kernels/cpu/byte_table.h"
#include "runtime/operators.h"

namespace qat::runtime {

using kernels::ByteTable;

// Codes of any shape and order through a table.
Bound bind_table(const graph::Node& node, const ByteTable& table, const Binding& at);

// A lookup on tensors of any layout.
Binder make_fast_lookup(const Site& site, const graph::LookupAttributes& attributes);

}  // namespace qat::runtime
