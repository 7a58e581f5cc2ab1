#include <gtest/gtest.h>

#include <fstream>

#include "error.h"
#include "train/data_csv.h"
#include "train/data_idx.h"

namespace qat::train {
namespace {

std::string idx_header(std::initializer_list<int> sizes, char type = 8) {
  std::string bytes = {0, 0, type, static_cast<char>(sizes.size())};
  for (const int size : sizes)
    bytes += {0, 0, static_cast<char>(size >> 8), static_cast<char>(size)};
  return bytes;
}

template <typename Call>
std::string message(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::string idx_message(const std::string& bytes) {
  return message([&] { parse_idx(bytes, "x.idx"); });
}

TEST(Idx, ReadsShapeAndBytes) {
  const IdxFile file = parse_idx(idx_header({2, 3}) + "abcdef", "x.idx");
  EXPECT_EQ(file.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(file.bytes, "abcdef");
}

TEST(Idx, RefusesWhatIsNotIdx) {
  EXPECT_EQ(idx_message("ab"), "x.idx: an IDX file has at least 4 bytes, found 2");
  EXPECT_EQ(idx_message("PNG!rest"),
            "x.idx: not an IDX file: expected a magic number 0x0000TTRR with rank 1 to 4, found "
            "1347307297");
  EXPECT_EQ(idx_message(idx_header({2}, 13) + "ab"),
            "x.idx: expected unsigned bytes (type 8), found type 13");
  EXPECT_EQ(idx_message(idx_header({2, 3}).substr(0, 9)),
            "x.idx: the header has 12 bytes, the file only 9");
  EXPECT_EQ(idx_message(idx_header({0})), "x.idx: axis 0 has size 0");
}

TEST(Idx, RefusesOtherLengthsThanTheHeaderSays) {
  EXPECT_EQ(idx_message(idx_header({2, 3}) + "abc"),
            "x.idx: truncated: the header says 2x3 bytes, the file holds 3");
  EXPECT_EQ(idx_message(idx_header({2}) + "abc"),
            "x.idx: too long: the header says 2 bytes, the file holds 3");
}

TEST(Idx, HugeSizesDoNotOverflow) {
  const std::string huge = idx_header({1, 1, 1, 1});
  std::string bytes = huge.substr(0, 4) + std::string(16, '\xff');
  EXPECT_NE(idx_message(bytes).find("truncated"), std::string::npos);
}

TEST(Idx, NamesAMissingFileAndATruncatedGzipStream) {
  EXPECT_EQ(message([] { read_idx("/nowhere/x.gz"); }),
            "/nowhere/x.gz: cannot open the file: No such file or directory");
  const std::string whole = "/usr/share/datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz";
  std::ifstream source(whole, std::ios::binary);
  if (!source) GTEST_SKIP() << "needs the Debian package dataset-fashion-mnist";
  EXPECT_EQ(read_idx(whole).shape, std::vector<int64_t>{10000});
  std::string half(2000, '\0');
  source.read(half.data(), 2000);
  const std::string path = testing::TempDir() + "/half.gz";
  std::ofstream(path, std::ios::binary) << half;
  EXPECT_EQ(message([&] { read_idx(path); }),
            path + ": cannot unpack the file: it ends in the middle of its gzip stream");
}

std::string csv_message(const std::string& text, const std::string& label, bool header) {
  return message([&] { parse_csv(text, "t.csv", label, header); });
}

TEST(Csv, ReadsAHeaderQuotesAndBlankLines) {
  const CsvTable table = parse_csv("a,\"y\", b\r\n1,0,2.5\n\n-3e1,1,4\n", "t.csv", "y", true);
  EXPECT_EQ(table.columns, 2);
  EXPECT_EQ(table.features, (std::vector<float>{1, 2.5, -30, 4}));
  EXPECT_EQ(table.labels, (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(table.names, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(table.lines, (std::vector<int64_t>{2, 4}));
}

TEST(Csv, ReadsRowsWithoutAHeader) {
  const CsvTable table = parse_csv("2,0.5\n1,0.25\n", "t.csv", "0", false);
  EXPECT_EQ(table.labels, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(table.names, std::vector<std::string>{});
  EXPECT_EQ(table.lines, (std::vector<int64_t>{1, 2}));
}

TEST(Csv, NamesRowColumnAndValue) {
  EXPECT_EQ(csv_message("a,y\n1,0\nx,1\n", "y", true),
            "t.csv: row 3, column 0: expected a finite number, found 'x'");
  EXPECT_EQ(csv_message("a,y\nnan,0\n", "y", true),
            "t.csv: row 2, column 0: expected a finite number, found 'nan'");
  EXPECT_EQ(csv_message("a,y\n,0\n", "y", true),
            "t.csv: row 2, column 0: expected a finite number, found ''");
  EXPECT_EQ(csv_message("a,y\n1,0.5\n", "y", true),
            "t.csv: row 2, column 1: expected a class number from 0, found '0.5'");
  EXPECT_EQ(csv_message("a,y\n1,0,3\n", "y", true), "t.csv: row 2: expected 2 columns, found 3");
}

TEST(Csv, NamesAMissingLabelColumn) {
  EXPECT_EQ(csv_message("a,b\n1,0\n", "y", true),
            "t.csv: no column is named 'y'; the header row has a, b");
  EXPECT_EQ(csv_message("1,0\n", "2", false),
            "t.csv: the label is column 2, the file has columns 0 to 1");
  EXPECT_EQ(csv_message("a,y\n", "y", true), "t.csv: the file has no rows of data");
  EXPECT_EQ(csv_message("", "y", true), "t.csv: the first row is empty");
}

TEST(Csv, TellsAMissingFileFromAnEmptyOne) {
  EXPECT_EQ(message([] { read_csv("/nowhere/t.csv", "y", true); }),
            "/nowhere/t.csv: cannot read this file: No such file or directory");
  EXPECT_EQ(message([] { read_csv("/", "y", true); }), "/: cannot read this file: Is a directory");
  const std::string path = testing::TempDir() + "/empty.csv";
  std::ofstream(path).close();
  EXPECT_EQ(message([&] { read_csv(path, "y", true); }), path + ": the file is empty");
}

}  // namespace
}  // namespace qat::train
