#include "graph/shapes.h"

#include <gtest/gtest.h>

namespace qat::graph {
namespace {

// Sizes that torch.nn.functional gives (torch 2.13).
TEST(Shapes, WindowsAsInTorch) {
  EXPECT_EQ(convolution_size(224, {7, 2, 3, 1}), 112);
  EXPECT_EQ(convolution_size(7, {3, 2, 0, 2}), 2);
  EXPECT_EQ(transposed_size(5, {3, 2, 1, 1}, 1), 10);
  EXPECT_EQ(pool_size(112, {3, 2, 1, 1}, false), 56);
  EXPECT_EQ(pool_size(6, {3, 2, 0, 1}, false), 2);
  EXPECT_EQ(pool_size(6, {3, 2, 0, 1}, true), 3);
  EXPECT_EQ(pool_size(5, {2, 3, 1, 1}, true), 2);  // the third window would start in the padding
  EXPECT_LT(pool_size(2, {5, 1, 0, 1}, false), 1);
}

TEST(Shapes, Broadcast) {
  const Affine batch{1, 0};
  EXPECT_EQ(broadcast({batch, {0, 3}, {0, 1}}, {{0, 4}}), (Shape{batch, {0, 3}, {0, 4}}));
  EXPECT_EQ(broadcast({}, {batch}), Shape{batch});
  EXPECT_EQ(broadcast({{0, 1}}, {{0, 0}}), (Shape{{0, 0}}));
  EXPECT_EQ(broadcast({batch}, {{2, 0}}), std::nullopt);
  EXPECT_EQ(broadcast({{0, 2}}, {{0, 3}}), std::nullopt);
}

TEST(Shapes, ElementCountsAreComparedAsPolynomials) {
  EXPECT_TRUE(same_element_count({{1, 0}, {0, 6}}, {{2, 0}, {0, 3}}));
  EXPECT_FALSE(same_element_count({{1, 0}}, {{0, 2}}));           // equal at batch 2 only
  EXPECT_FALSE(same_element_count({{1, 0}, {1, 0}}, {{5, -6}}));  // equal at batch 2 and 3
  EXPECT_TRUE(same_element_count({}, {{0, 1}}));
}

}  // namespace
}  // namespace qat::graph
