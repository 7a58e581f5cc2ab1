#include "graph/strict_json.h"

#include "graph/expect_error.h"

namespace qat::graph {
namespace {

using testing::message_of;

std::string refusal(const std::string& text) {
  return message_of([&] { parse_strict_json(text, "f: header"); });
}

std::string nested(size_t depth) {  // objects and lists by turns, the outermost an object
  std::string open, close;
  for (size_t i = 0; i < depth; ++i) {
    open += i % 2 == 0 ? "{\"a\":" : "[";
    close.insert(0, i % 2 == 0 ? "}" : "]");
  }
  return open + "1" + close;
}

TEST(StrictJson, KeepsTypesAndValues) {
  const nlohmann::json json = parse_strict_json(
      R"({"i": -9223372036854775808, "f": 1.0, "e": 1e2, "z": -0.0, "s": "\u00e9\n", "n": null,
          "l": [true, [], {}]}  )",
      "f");
  EXPECT_EQ(json["i"].get<int64_t>(), std::numeric_limits<int64_t>::min());
  EXPECT_TRUE(json["i"].is_number_integer());
  EXPECT_TRUE(json["f"].is_number_float());
  EXPECT_TRUE(json["e"].is_number_float());
  EXPECT_TRUE(std::signbit(json["z"].get<double>()));
  EXPECT_EQ(json["s"], "\xc3\xa9\n");
  EXPECT_TRUE(json["n"].is_null());
  EXPECT_EQ(json["l"].size(), 3u);
}

TEST(StrictJson, RefusesDuplicateKeysAtAnyLevel) {
  EXPECT_EQ(refusal(R"({"a": 1, "b": 2, "a": 1})"),
            "f: header: key 'a' stands twice in one object");
  EXPECT_EQ(refusal(R"({"l": [{"x": {"a": 1, "a": 2}}]})"),
            "f: header: key 'a' stands twice in one object");
  EXPECT_EQ(refusal(R"({"a": 1, "\u0061": 2})"), "f: header: key 'a' stands twice in one object");
  EXPECT_NO_THROW(parse_strict_json(R"({"a": {"a": 1}, "b": {"a": 1}})", "f"));
}

TEST(StrictJson, LimitsDepth) {
  EXPECT_NO_THROW(parse_strict_json(nested(kMaxJsonDepth), "f"));
  EXPECT_EQ(refusal(nested(kMaxJsonDepth + 1)), "f: header: JSON is nested deeper than 32 levels");
  EXPECT_EQ(refusal("{\"a\":" + std::string(1000000, '[')),
            "f: header: JSON is nested deeper than 32 levels");
}

TEST(StrictJson, RefusesNumbersThatDoNotFit) {
  const std::string rule = "f: header: integers have at most 64 bits with sign, got ";
  EXPECT_EQ(refusal(R"({"a": 9223372036854775808})"), rule + "9223372036854775808");
  EXPECT_EQ(refusal(R"({"a": 18446744073709551616})"), rule + "18446744073709551616");
  EXPECT_EQ(refusal(R"({"a": -9223372036854775809})"), rule + "-9223372036854775809");
  EXPECT_NE(refusal(R"({"a": 1e999})").find("number overflow parsing '1e999'"), std::string::npos);
  EXPECT_NE(refusal(R"({"a": NaN})").find("f: header: not valid JSON near byte "),
            std::string::npos);
}

TEST(StrictJson, RefusesWhatIsNoSingleObject) {
  const std::string rule = "f: header: JSON object expected, it must begin with '{'";
  EXPECT_EQ(refusal(""), rule);
  EXPECT_EQ(refusal(" {}"), rule);
  EXPECT_EQ(refusal("[]"), rule);
  EXPECT_EQ(refusal("\xef\xbb\xbf{}"), rule);
  for (const char* text : {"{", "{}{}", "{} x", "{\"a\":}", "{a:1}", "{\"a\":1,}", "{\"a\" 1}",
                           "{\"a\": \"\x01\"}", "{\"a\": \"\xff\"}", "{\"a\": /**/ 1}"}) {
    EXPECT_EQ(refusal(text).rfind("f: header: not valid JSON near byte ", 0), 0u) << text;
  }
}

TEST(StrictJson, DoesNotStopAtAZeroByte) {
  EXPECT_EQ(refusal(std::string("{}\0{", 4)), "f: header: not valid JSON: zero byte at 2");
}

}  // namespace
}  // namespace qat::graph
