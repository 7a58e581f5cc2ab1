#include "graph/spelling.h"

#include <gtest/gtest.h>

namespace qat::graph {
namespace {

TEST(Spelling, FormatsAreReadAsWritten) {
  EXPECT_EQ(spelling(numerics::kUint8), "u8");
  EXPECT_EQ(spelling(numerics::kInt8), "s8");
  EXPECT_EQ(spelling(numerics::IntFormat{4, true, true}), "n4");
  int known = 0;
  for (int bits = 0; bits < 12; ++bits) {
    for (const char kind : {'u', 's', 'n', 'i'}) {
      const std::string text = kind + std::to_string(bits);
      const auto format = parse_format(text);
      if (format) {
        EXPECT_EQ(spelling(*format), text);
      }
      known += format.has_value();
    }
  }
  EXPECT_EQ(known, 7 * 3);
  EXPECT_EQ(parse_format("u08"), std::nullopt);
}

TEST(Spelling, EnumerationsAreReadAsWritten) {
  for (const char* name : {"codes", "float32", "int64", "boolean"}) {
    EXPECT_STREQ(spelling(parse_element_type(name).value()), name);
  }
  for (const char* name : {"relu", "clamp", "leaky_relu", "hardswish", "hardsigmoid"}) {
    EXPECT_STREQ(spelling(parse_activation_kind(name).value()), name);
  }
  EXPECT_EQ(parse_activation_kind("none"), std::nullopt);
  EXPECT_EQ(parse_element_type("float64"), std::nullopt);
}

TEST(Spelling, OperatorsAreReadAsWritten) {
  for (const char* name : {"quantize",   "dequantize", "conv",     "linear",
                           "activation", "affine",     "add",      "sub",
                           "mul",        "max_pool",   "avg_pool", "adaptive_avg_pool",
                           "mean",       "lookup",     "concat",   "pad",
                           "reshape",    "permute",    "slice",    "upsample_nearest",
                           "constant",   "aten"}) {
    const auto attributes = default_attributes(name);
    ASSERT_TRUE(attributes.has_value()) << name;
    EXPECT_STREQ(operator_name(*attributes), name);
  }
  EXPECT_EQ(default_attributes("conv2d").has_value(), false);
  EXPECT_EQ(default_attributes("").has_value(), false);
}

TEST(Spelling, ShapesInMessages) {
  EXPECT_EQ(to_text(Shape{{1, 0}, {2, 3}, {4, -1}, {0, 7}}), "[B, 2*B+3, 4*B-1, 7]");
  EXPECT_EQ(to_text(Shape{}), "[]");
  EXPECT_EQ(to_text(std::vector<int64_t>{1, -2}), "[1, -2]");
}

TEST(Spelling, QuotedTextIsShortAscii) {
  EXPECT_EQ(in_quotes("a\nb\xc3"
                      "c\x1b"),
            "'a?b?c?'");
  EXPECT_EQ(in_quotes(std::string(100, 'x')), "'" + std::string(80, 'x') + "...'");
}

}  // namespace
}  // namespace qat::graph
