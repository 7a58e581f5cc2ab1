#include "runtime/value_uses.h"

#include "runtime/builder.h"

namespace qat::runtime::testing {
namespace {

TEST(ValueUses, FindsWhoMakesAndWhoReadsAValue) {
  Builder b;
  const int64_t x = b.input(ElementType::float32, batched({2}));
  const int64_t once = b.relu(x), twice = b.relu(once), shown = b.relu(b.relu(twice));
  const int64_t square = b.float_node(BinaryAttributes{Binary::mul}, {twice, twice});
  b.relu(shown);
  b.output(shown);
  b.output(square);
  const ValueUses uses(b.model.graph);
  EXPECT_EQ(uses.producer(x), -1);
  EXPECT_EQ(uses.producer(twice), 1);
  EXPECT_EQ(uses.readers(twice), (std::vector<int64_t>{2, 4, 4}));
  EXPECT_EQ(uses.readers(square), (std::vector<int64_t>{}));
  EXPECT_EQ(uses.only_reader(once), 1);
  EXPECT_EQ(uses.only_reader(twice), -1);
  EXPECT_EQ(uses.readers(shown), (std::vector<int64_t>{5}));
  EXPECT_EQ(uses.only_reader(shown), -1);  // the caller reads it too
  EXPECT_EQ(uses.only_reader(square), -1);
}

}  // namespace
}  // namespace qat::runtime::testing
