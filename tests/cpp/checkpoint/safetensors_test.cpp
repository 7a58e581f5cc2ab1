#include "checkpoint/safetensors.h"

#include "graph/expect_error.h"

namespace qat::safetensors {
namespace {

using testing::message_of;

// A file of this header and these data, whatever they are.
std::string file_of(std::string header, const std::string& data, bool pad = true) {
  if (pad) header.append((8 - header.size() % 8) % 8, ' ');
  std::string bytes;
  for (int shift = 0; shift < 64; shift += 8) {
    bytes.push_back(static_cast<char>(uint64_t{header.size()} >> shift));
  }
  return bytes + header + data;
}

std::string refusal(const std::string& header, const std::string& data) {
  return message_of([&] { parse(file_of(header, data), "f"); });
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

const std::string k8(8, '\0');

TEST(Safetensors, ComesBack) {
  File file;
  file.metadata = {{"a", "\"{}\n\xc3\xa9"}, {"b", ""}};
  file.tensors["w/x.y#1:z-"] = {"U8", {3}, "abc"};
  file.tensors["a"] = {"F32", {1, 1}, "1234"};
  file.tensors["scalar"] = {"I64", {}, "12345678"};
  file.tensors["empty"] = {"I64", {2, 0}, ""};
  file.tensors["half"] = {"BF16", {1}, "xy"};
  const std::string bytes = serialize(file);
  const File found = parse(bytes, "f");
  EXPECT_EQ(found.metadata, file.metadata);
  ASSERT_EQ(found.tensors.size(), file.tensors.size());
  for (const auto& [name, tensor] : file.tensors) {
    EXPECT_EQ(found.tensors.at(name).dtype, tensor.dtype);
    EXPECT_EQ(found.tensors.at(name).shape, tensor.shape);
    EXPECT_EQ(found.tensors.at(name).bytes, tensor.bytes);
  }
  EXPECT_EQ(bytes.substr(bytes.size() - 17), "123456781234xyabc");
}

TEST(Safetensors, EmptyFile) {
  EXPECT_EQ(serialize({}), file_of("{}", ""));
  EXPECT_TRUE(parse(serialize({}), "f").tensors.empty());
}

// Header of a file that safetensors.numpy.save_file (0.8.0) wrote: same order, same rules.
TEST(Safetensors, ReadsWhatThePackageWrites) {
  const std::string header =
      "{" + entry("u64", "U64", "[1]", "[0,8]") + "," + entry("i64", "I64", "[1]", "[8,16]") + "," +
      entry("f32", "F32", "[1]", "[16,20]") + "," + entry("i32", "I32", "[1]", "[20,24]") + "," +
      entry("f16", "F16", "[1]", "[24,26]") + "," + entry("i16", "I16", "[1]", "[26,28]") + "," +
      entry("i8", "I8", "[1]", "[28,29]") + "," + entry("u8", "U8", "[1]", "[29,30]") + "," +
      entry("bool", "BOOL", "[1]", "[30,31]") + "}";
  EXPECT_EQ(parse(file_of(header, std::string(31, '\1')), "f").tensors.size(), 9u);
}

TEST(Safetensors, RefusesWrongLengths) {
  EXPECT_EQ(message_of([] { parse("1234567", "f"); }), "f: a file has at least 8 bytes, got 7");
  EXPECT_EQ(message_of([] { parse(std::string("\0\0\0\x04\0\0\0\1", 8), "f"); }),
            "f: the header must have at most 64 MiB, got 72057594105036800 bytes; is this a "
            "safetensors file?");
  EXPECT_EQ(message_of([] { parse(std::string("\x08\0\0\x04\0\0\0\0", 8), "f"); }),
            "f: the header must have at most 64 MiB, got 67108872 bytes; is this a safetensors "
            "file?");
  EXPECT_EQ(message_of([] { parse(std::string("\0\0\0\x04\0\0\0\0", 8), "f"); }),
            "f: the header must end within the file, got 67108864 bytes of header and 8 bytes of "
            "file");
  EXPECT_EQ(message_of([] { parse(file_of("{}", "", false), "f"); }),
            "f: the length of the header must be a multiple of 8, got 2");
}

TEST(Safetensors, RefusesWrongLayouts) {
  EXPECT_EQ(refusal("{" + entry("a", "U8", "[8]", "[0,8]") + "," +
                        entry("b", "U8", "[8]", "[4,12]") + "}",
                    std::string(12, '\0')),
            "f: tensor 'b': data must begin where the one before ends, at 8, got an overlap at 4");
  EXPECT_EQ(
      refusal("{" + entry("a", "U8", "[3]", "[0,3]") + "," + entry("b", "U8", "[4]", "[4,8]") + "}",
              k8),
      "f: tensor 'b': data must begin where the one before ends, at 3, got a gap up to 4");
  EXPECT_EQ(refusal("{" + entry("a", "U8", "[4]", "[4,8]") + "}", k8),
            "f: tensor 'a': data must begin where the one before ends, at 0, got a gap up to 4");
  EXPECT_EQ(
      refusal("{" + entry("a", "U8", "[4]", "[0,4]") + "}", k8),
      "f: the file must end with the last tensor, at byte 4 of the data, got 8 bytes of data");
  EXPECT_EQ(
      refusal("{" + entry("b", "U8", "[4]", "[0,4]") + "," + entry("a", "U8", "[4]", "[4,8]") + "}",
              k8),
      "f: tensor 'a': tensors must lie in the order of their dtypes (large elements first) "
      "and names, got this one after 'b'");
  EXPECT_EQ(refusal("{" + entry("a", "U8", "[4]", "[0,4]") + "," +
                        entry("b", "F32", "[1]", "[4,8]") + "}",
                    k8)
                .rfind("f: tensor 'b': tensors must lie in the order of their dtypes", 0),
            0u);
  EXPECT_EQ(refusal("{" + entry("a", "F32", "[1]", "[2,6]") + "}", k8),
            "f: tensor 'a': the offset must be a multiple of 4, the size of an element, got 2");
  for (const char* offsets :
       {"[0,16]", "[8,0]", "[-8,0]", "[0]", "[0,8,8]", "[0,9223372036854775807]"}) {
    EXPECT_EQ(refusal("{" + entry("a", "U8", "[8]", offsets) + "}", k8)
                  .rfind("f: tensor 'a': data_offsets must be [begin, end] within the 8 bytes of "
                         "data, got [",
                         0),
              0u)
        << offsets;
  }
}

TEST(Safetensors, RefusesWrongEntries) {
  EXPECT_EQ(refusal("{" + entry("a b", "U8", "[8]", "[0,8]") + "}", k8),
            "f: tensor 'a b': a name is 1 to 256 characters out of [A-Za-z0-9_./#:-]");
  EXPECT_EQ(refusal("{" + entry("a", "U9", "[8]", "[0,8]") + "}", k8),
            "f: tensor 'a': unknown dtype 'U9'");
  EXPECT_EQ(refusal("{" + entry("a", "U8", "[1,1,1,1,1,1,1,1,8]", "[0,8]") + "}", k8),
            "f: tensor 'a': rank must be at most 8, got 9");
  EXPECT_EQ(refusal("{" + entry("a", "U8", "[7]", "[0,8]") + "}", k8),
            "f: tensor 'a': shape [7] of U8 does not fit 8 bytes");
  EXPECT_EQ(refusal("{" + entry("a", "U8", "[-8]", "[0,8]") + "}", k8),
            "f: tensor 'a': shape [-8] of U8 does not fit 8 bytes");
  EXPECT_EQ(refusal("{" + entry("a", "U8", "[4294967296,4294967296]", "[0,0]") + "}", ""),
            "f: tensor 'a': shape [4294967296, 4294967296] of U8 does not fit 0 bytes");
  EXPECT_EQ(refusal(R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8],"x":1}})", k8),
            "f: tensor 'a': unknown key 'x'");
  EXPECT_EQ(refusal(R"({"a":{"dtype":"U8","shape":[8]}})", k8),
            "f: tensor 'a': key 'data_offsets' is missing");
  EXPECT_EQ(refusal(R"({"a":7})", k8), "f: tensor 'a': object expected, got 7");
  EXPECT_EQ(refusal("{" + entry("a", "U8", "[8.0]", "[0,8]") + "}", k8),
            "f: tensor 'a': shape[0]: integer expected, got 8.0");
  EXPECT_EQ(refusal(R"({"__metadata__":[]})", ""), "f: __metadata__: object expected, got []");
  EXPECT_EQ(refusal(R"({"__metadata__":{"k":1}})", ""),
            "f: __metadata__: 'k': string expected, got 1");
  EXPECT_EQ(
      refusal("{" + entry("a", "U8", "[8]", "[0,8]") + "," + entry("a", "U8", "[8]", "[0,8]") + "}",
              k8),
      "f: header: key 'a' stands twice in one object");
  EXPECT_EQ(refusal("nonsense", ""), "f: header: JSON object expected, it must begin with '{'");
}

TEST(Safetensors, WritingChecksEntries) {
  EXPECT_EQ(message_of([] {
              serialize({{{"a", {"U8", {2}, "abc"}}}, {}});
            }),
            "safetensors: tensor 'a': shape [2] of U8 does not fit 3 bytes");
  EXPECT_EQ(message_of([] {
              serialize({{{"__metadata__", {"U8", {1}, "a"}}}, {}});
            }),
            "safetensors: tensor '__metadata__': a name is 1 to 256 characters out of "
            "[A-Za-z0-9_./#:-]");
  EXPECT_EQ(message_of([] {
              serialize({{}, {{"k", "\xff"}}});
            }),
            "safetensors: metadata must be UTF-8 text");
  EXPECT_EQ(message_of([] {
              serialize({{}, {{"k", std::string(size_t{64} << 20, 'x')}}});
            }),
            "safetensors: the header must have at most 64 MiB, got 67108896 bytes");
}

}  // namespace
}  // namespace qat::safetensors
