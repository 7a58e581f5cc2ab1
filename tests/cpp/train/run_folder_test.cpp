#include "train/run_folder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "train/yaml_tree.h"

namespace qat::train {
namespace {

namespace fs = std::filesystem;

class RunFolderTest : public testing::Test {
 protected:
  void SetUp() override {
    home_ = fs::current_path();
    fs::remove_all(place_);
    fs::create_directories(place_);
    fs::current_path(place_);
    job_ =
        parse_job("name: job\nmodel: {name: mlp}\ndata: {name: csv, train: t.csv, test: t.csv}\n",
                  "job.yaml", {});
  }
  void TearDown() override { fs::current_path(home_); }

  static std::vector<std::string> files_of(const fs::path& folder) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder))
      names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }

  const fs::path place_ = fs::path(testing::TempDir()) / "run_folder_test";
  fs::path home_;
  Job job_;
};

TEST_F(RunFolderTest, OfTwoUnnamedRunsTheLaterTakesTheNextName) {
  Job first = job_, second = job_;
  RunFolder a = choose_folder(first), b = choose_folder(second);
  EXPECT_EQ(a.path, b.path);
  make_folder(a, first);
  make_folder(b, second);
  EXPECT_EQ(a.path, fs::absolute("runs/job").string());
  EXPECT_EQ(b.path, fs::absolute("runs/job-2").string());
  EXPECT_EQ(second.run, b.path);
  EXPECT_EQ(files_of(b.path), (std::vector<std::string>{"checkpoints", "job.yaml"}));
}

TEST_F(RunFolderTest, OfTwoRunsOfOneNameTheLaterIsRefused) {
  job_.run = "mine";
  Job first = job_, second = job_;
  RunFolder a = choose_folder(first), b = choose_folder(second);
  make_folder(a, first);
  try {
    make_folder(b, second);
    FAIL() << "made twice";
  } catch (const JobError& error) {
    EXPECT_STREQ(error.what(),
                 "run: error: mine holds a run already; continue it with 'qat resume mine' or "
                 "choose another folder");
  }
}

TEST_F(RunFolderTest, AFolderWithoutAJobIsTaken) {
  fs::create_directories("mine/checkpoints");
  job_.run = "mine";
  RunFolder folder = choose_folder(job_);
  make_folder(folder, job_);
  EXPECT_TRUE(fs::exists("mine/job.yaml"));
}

TEST_F(RunFolderTest, NothingIsLeftWhereTheFolderCannotBeMade) {
  std::ofstream("file").put('x');
  job_.run = "file/inside";
  RunFolder folder = choose_folder(job_);
  EXPECT_THROW(make_folder(folder, job_), JobError);
  EXPECT_EQ(files_of("."), std::vector<std::string>{"file"});
}

}  // namespace
}  // namespace qat::train
