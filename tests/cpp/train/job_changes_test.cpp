#include "train/job_changes.h"

#include <gtest/gtest.h>

namespace qat::train {
namespace {

Job job(const std::vector<std::string>& overrides = {}) {
  return parse_job("name: a\nmodel: {name: mlp}\ndata: {name: csv, train: t.csv, test: t.csv}\n",
                   "job.yaml", overrides);
}

TEST(JobChanges, NamesEveryKeyWithBothValues) {
  EXPECT_EQ(changes_between(job(), job({"data.limit=9", "seed=2"})),
            (Words{"data.limit was 0, is 9", "seed was 1, is 2"}));
  EXPECT_EQ(changes_between(job({"recipe={weights: {bits: 4}}"}), job()),
            (Words{"recipe.weights.bits was 4, is 8"}));
}

TEST(JobChanges, NamesKeysThatOneOfThemLacks) {
  EXPECT_EQ(changes_between(job(), job({"data.mean=[0]", "data.std=[1]"})),
            (Words{"data.mean.0 was absent, is 0.0", "data.std.0 was absent, is 1.0"}));
}

TEST(JobChanges, NamesAndPathsAreNone) {
  EXPECT_EQ(changes_between(job(), job({"name=b", "run=r", "data.train=u.csv", "weights=w"})),
            Words{});
}

}  // namespace
}  // namespace qat::train
