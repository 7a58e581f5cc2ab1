#include "train/job.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "train/yaml_tree.h"

namespace qat::train {
namespace {

constexpr const char* kGood = R"(name: small
model:
  name: resnet
  depth: 8
data:
  name: fashion_mnist
  batch: 64
float:
  epochs: 2
  optimizer: {name: sgd, lr: 1e-3}
)";

std::string message(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    parse_job(text, "job.yaml", overrides);
  } catch (const JobError& error) {
    return error.what();
  }
  return "no error";
}

std::string overridden(const std::string& assignment) { return message(kGood, {assignment}); }

TEST(Job, ReadsValuesAndDefaults) {
  const Job job = parse_job(kGood, "job.yaml");
  EXPECT_EQ(job.name, "small");
  EXPECT_EQ(std::get<ResNetSpec>(job.model).depth, 8);
  EXPECT_EQ(std::get<FashionMnistSpec>(job.data.source).root, "/usr/share/datasets/fashion-mnist");
  EXPECT_EQ(job.data.batch, 64);
  EXPECT_EQ(job.floating.epochs, 2);
  EXPECT_EQ(job.floating.optimizer.lr, 1e-3);
  EXPECT_EQ(job.qat.optimizer.lr, 1e-4);
  EXPECT_EQ(job.recipe, Recipe::named("int8"));
}

TEST(Job, YamlOfAJobGivesTheSameYaml) {
  const std::string once = to_yaml(parse_job(kGood, "job.yaml"));
  EXPECT_EQ(to_yaml(parse_job(once, "again.yaml")), once);
}

struct Mistake {
  const char* text;
  const char* message;
};

class Mistakes : public testing::TestWithParam<Mistake> {};

TEST_P(Mistakes, NamePlaceRuleAndValue) { EXPECT_EQ(message(GetParam().text), GetParam().message); }

INSTANTIATE_TEST_SUITE_P(
    Structure, Mistakes,
    testing::Values(
        Mistake{"model: {name: mlp}\nmodel: {name: vit}\n",
                "job.yaml:2:1: error: key 'model' is given twice, first at job.yaml:1:1"},
        Mistake{
            "model: &m {name: mlp}\n",
            "job.yaml:1:8: error: anchors (&name) are not allowed in a job; write the value out"},
        Mistake{
            "model: {<<: {name: mlp}}\n",
            "job.yaml:1:9: error: merge keys (<<) are not allowed in a job; write the keys out"},
        Mistake{"seed: !!int 3\n",
                "job.yaml:1:7: error: tags (!!type) are not allowed in a job, found tag "
                "'tag:yaml.org,2002:int'"},
        Mistake{"? [a, b]\n: 1\n",
                "job.yaml:1:3: error: a key must be a word, found a list or a map"},
        Mistake{"seed: 1\n---\nseed: 2\n",
                "job.yaml:2:1: error: a second document starts here; a job is one document"},
        Mistake{"a: [[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]\n",
                "job.yaml:1:19: error: nested deeper than 16 levels"},
        Mistake{"",
                "job.yaml:1:1: error: a job: expected a map with the keys name, run, seed, "
                "threads, weights, model, data, float, calibrate, qat, distill, adversarial, "
                "recipe, found "
                "nothing"},
        Mistake{"- a\n",
                "job.yaml:1:1: error: a job: expected a map with the keys name, run, seed, "
                "threads, weights, model, data, float, calibrate, qat, distill, adversarial, "
                "recipe, found "
                "a list"},
        Mistake{"seed: 1\n",
                "job.yaml:1:1: error: key 'model' is missing; expected a map with the "
                "model's name"}));

INSTANTIATE_TEST_SUITE_P(
    Values, Mistakes,
    testing::Values(
        Mistake{"modle: {name: mlp}\n",
                "job.yaml:1:1: error: unknown key 'modle'; did you mean 'model'?"},
        Mistake{
            "banana: 1\n",
            "job.yaml:1:1: error: unknown key 'banana'; the keys here are name, run, seed, "
            "threads, weights, model, data, float, calibrate, qat, distill, adversarial, recipe"},
        Mistake{"model: {depth: 8}\n",
                "job.yaml:1:8: error: model: key 'name' is missing; expected "
                "one of mlp, mobilenet_v2, resnet, vit"},
        Mistake{"model: {name: resnot}\n",
                "job.yaml:1:15: error: model.name: expected one of mlp, mobilenet_v2, resnet, vit, "
                "found 'resnot'; did you mean 'resnet'?"},
        Mistake{"model:\n  name: resnet\n  hidden: [3]\n",
                "job.yaml:3:3: error: model: unknown key 'hidden'; the keys here are name, depth, "
                "width"},
        Mistake{
            "model: {name: resnet, depth: 9}\n",
            "job.yaml:1:30: error: model.depth: expected 8, 14, 20 or a larger 6n + 2, found 9"},
        Mistake{"seed: -1\n",
                "job.yaml:1:7: error: seed: expected an integer from 0 to "
                "999999999999999999, found '-1'"},
        Mistake{"seed: 010\n",
                "job.yaml:1:7: error: seed: expected an integer from 0 to "
                "999999999999999999, found '010'"},
        Mistake{"seed: '1'\n",
                "job.yaml:1:7: error: seed: expected an integer from 0 to "
                "999999999999999999, found '1'"},
        Mistake{
            "name: 12\n",
            "job.yaml:1:7: error: name: expected a string, found '12'; quote it if it is meant"},
        Mistake{"name: a/b\n",
                "job.yaml:1:7: error: name: expected letters, digits, '_', '-' and "
                "'.', found 'a/b'"}));

TEST(Job, AliasesAreRefused) {
  EXPECT_EQ(message("a: 1\nb: *x\n"),
            "job.yaml:2:4: error: not valid YAML: the referenced anchor is not defined");
}

TEST(Overrides, ReplaceValuesAndAddSections) {
  const Job job = parse_job(kGood, "job.yaml", {"data.batch=32", "qat.epochs=3", "seed=1"});
  EXPECT_EQ(job.data.batch, 32);
  EXPECT_EQ(job.qat.epochs, 3);
}

TEST(Overrides, GoThroughTheSameChecks) {
  EXPECT_EQ(overridden("data.batch=abc"),
            "command line: data.batch=abc: error: data.batch: expected an integer from 1 to 65536, "
            "found 'abc'");
  EXPECT_EQ(overridden("data.bach=1"),
            "command line: data.bach=1: error: data: unknown key 'bach'; did you mean 'batch'?");
  EXPECT_EQ(overridden("data.batch"), "command line: data.batch: error: expected key.sub=value");
}

TEST(Overrides, DoNotLookInsideValues) {
  EXPECT_EQ(overridden("name.x=1"),
            "command line: name.x=1: error: name is 'small' (job.yaml:1:7), so it has no key 'x'");
}

TEST(Phases, KeysThatBelongElsewhere) {
  EXPECT_EQ(overridden("float.optimizer={name: adam, momentum: 0.9}"),
            "command line: float.optimizer={name: adam, momentum: 0.9}: error: "
            "float.optimizer.momentum: belongs to the optimizer sgd, not to adam");
  EXPECT_EQ(overridden("float.schedule={name: step, warmup: 0.1}"),
            "command line: float.schedule={name: step, warmup: 0.1}: error: "
            "float.schedule.warmup: belongs to the schedules cosine and one_cycle, not to step");
  EXPECT_EQ(
      overridden("float.optimizer.lr=0"),
      "command line: float.optimizer.lr=0: error: float.optimizer.lr: expected a number from 0 "
      "(not included) to 100, found '0'");
  EXPECT_EQ(overridden("float.amp=true"),
            "command line: float.amp=true: error: float.amp: expected one of none, bfloat16, found "
            "'true'");
}

TEST(Data, ValidationRowsAreRead) {
  EXPECT_EQ(parse_job(kGood, "job.yaml").data.validation, 0);
  EXPECT_EQ(parse_job(kGood, "job.yaml", {"data.validation=300"}).data.validation, 300);
  EXPECT_EQ(overridden("data.validation=-1"),
            "command line: data.validation=-1: error: data.validation: expected an integer from 0 "
            "to 1000000000, found '-1'");
}

TEST(Data, MeanAndStdGoTogether) {
  EXPECT_EQ(
      overridden("data.mean=[0.5]"),
      "command line: data.mean=[0.5]: error: data.mean: mean and std go together and are of one "
      "length, found 1 and 0");
  EXPECT_EQ(
      overridden("data.std=[a]"),
      "command line: data.std=[a]: error: data.std: expected a number from 0 (not included) to "
      "1e+30, found 'a'");
}

TEST(Recipe, ErrorsCarryThePlaceInTheJob) {
  EXPECT_EQ(message(std::string(kGood) + "recipe:\n  weights:\n    bits: 9\n"),
            "job.yaml:13:11: error: recipe.weights.bits: expected an integer from 2 to 8, got 9");
}

TEST(Numbers, OneRule) {
  for (const char* text : {"1", "-1", "+3", "0", "0.5", ".5", "5.", "1e-3", "1E+3", "-2.5e0"}) {
    EXPECT_TRUE(is_number(text)) << text;
  }
  for (const char* text :
       {"", "-", ".", "1e", "e3", "0x10", "010", "1_000", "inf", ".nan", "1 2"}) {
    EXPECT_FALSE(is_number(text)) << text;
  }
}

TEST(Configs, EveryJobLoads) {
  int count = 0;
  for (const auto& file : std::filesystem::directory_iterator(QAT_SOURCE_DIR "/configs")) {
    if (file.path().extension() != ".yaml") continue;
    EXPECT_NO_THROW(load_job(file.path().string(), {})) << file.path();
    ++count;
  }
  EXPECT_GT(count, 0);
}

TEST(Configs, EveryRecipeLoads) {
  const std::string folder = QAT_SOURCE_DIR "/configs/recipes";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "there are no recipes";
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    EXPECT_NO_THROW(parse_job(kGood, "job.yaml", {"recipe=" + file.path().string()}))
        << file.path();
  }
}

}  // namespace
}  // namespace qat::train
