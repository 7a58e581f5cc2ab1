// The sections `distill` and `adversarial` of a job.

#include <gtest/gtest.h>

#include <filesystem>

#include "train/job.h"
#include "train/yaml_tree.h"

namespace qat::train {
namespace {

const std::string kJob = "model: {name: mlp}\ndata: {name: fashion_mnist}\n";

Job job_with(const std::string& section) { return parse_job(kJob + section, "job.yaml"); }

std::string message(const std::string& section) {
  try {
    job_with(section);
  } catch (const JobError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Distill, IsOffUnlessNamed) {
  const Job job = job_with("");
  EXPECT_FALSE(job.distill.has_value());
  EXPECT_FALSE(job.adversarial.has_value());
}

TEST(Distill, Defaults) {
  const DistillSpec spec = *job_with("distill: {}\n").distill;
  EXPECT_EQ(spec.teacher, "float");
  EXPECT_EQ(spec.temperature, 4.0);
  EXPECT_EQ(spec.weight, 0.9);
  EXPECT_TRUE(spec.features.empty());
}

TEST(Distill, ReadsEveryKey) {
  const DistillSpec spec = *job_with(
                                "distill:\n  teacher: runs/big\n  temperature: 2\n  weight: 0.5\n"
                                "  features:\n  - {site: relu}\n  - {site: relu_1, weight: 3}\n")
                                .distill;
  EXPECT_EQ(spec.teacher, std::filesystem::absolute("runs/big").string());
  EXPECT_EQ(spec.temperature, 2.0);
  EXPECT_EQ(spec.weight, 0.5);
  ASSERT_EQ(spec.features.size(), 2u);
  EXPECT_EQ(spec.features[0].site, "relu");
  EXPECT_EQ(spec.features[0].weight, 1.0);
  EXPECT_EQ(spec.features[1].weight, 3.0);
  EXPECT_EQ(spec.features[1].place, "job.yaml:9:12");
}

TEST(Adversarial, Defaults) {
  const AdversarialSpec spec = *job_with("adversarial: {}\n").adversarial;
  EXPECT_EQ(spec.attack.method, AttackSpec::Method::pgd);
  EXPECT_EQ(spec.attack.epsilon, 8.0 / 255);
  EXPECT_EQ(spec.attack.steps, 7);
  EXPECT_EQ(spec.attack.step, 2.5 * (8.0 / 255) / 7);
  EXPECT_TRUE(spec.attack.random_start);
  EXPECT_EQ(spec.weight, 1.0);
  EXPECT_TRUE(spec.in_float);
  EXPECT_TRUE(spec.in_qat);
}

TEST(Adversarial, StepFollowsEpsilonAndSteps) {
  const AttackSpec spec = job_with("adversarial: {epsilon: 0.1, steps: 5}\n").adversarial->attack;
  EXPECT_EQ(spec.step, 2.5 * 0.1 / 5);
}

TEST(Adversarial, FgsmIsOneStepOfEpsilonFromTheInputs) {
  const AdversarialSpec spec =
      *job_with("adversarial: {method: fgsm, epsilon: 0.1, weight: 0.5, phases: [qat]}\n")
           .adversarial;
  EXPECT_EQ(spec.attack.steps, 1);
  EXPECT_EQ(spec.attack.step, 0.1);
  EXPECT_FALSE(spec.attack.random_start);
  EXPECT_EQ(spec.weight, 0.5);
  EXPECT_FALSE(spec.in_float);
  EXPECT_TRUE(spec.in_qat);
}

TEST(Methods, YamlOfAJobGivesTheSameYaml) {
  for (const char* section :
       {"distill: {features: [{site: relu, weight: 0.5}]}\n", "adversarial: {}\n",
        "distill: {teacher: /tmp/t}\nadversarial: {method: fgsm, phases: [float]}\n",
        "adversarial: {step: 0.125, random_start: false, weight: 0.25, phases: [qat, float]}\n"}) {
    const std::string once = to_yaml(job_with(section));
    EXPECT_EQ(to_yaml(parse_job(once, "again.yaml")), once) << section;
    EXPECT_NE(once, to_yaml(job_with(""))) << section;
  }
}

struct Mistake {
  const char* section;
  const char* message;
};

class MethodMistakes : public testing::TestWithParam<Mistake> {};

TEST_P(MethodMistakes, NamePlaceRuleAndValue) {
  EXPECT_EQ(message(GetParam().section), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Distill, MethodMistakes,
    testing::Values(
        Mistake{"distill: {temprature: 4}\n",
                "job.yaml:3:11: error: distill: unknown key 'temprature'; did you mean "
                "'temperature'?"},
        Mistake{"distill: {temperature: 0}\n",
                "job.yaml:3:24: error: distill.temperature: expected a number from 0 (not "
                "included) to 1000, found '0'"},
        Mistake{"distill: {weight: 1.5}\n",
                "job.yaml:3:19: error: distill.weight: expected a number from 0 to 1, found "
                "'1.5'"},
        Mistake{"distill: {features: relu}\n",
                "job.yaml:3:21: error: distill.features: expected a list of maps {site, weight}, "
                "found 'relu'"},
        Mistake{"distill: {features: [{weight: 1}]}\n",
                "job.yaml:3:22: error: distill.features[0]: key 'site' is missing; expected a "
                "name that 'qat plan' prints"},
        Mistake{"distill:\n  features:\n  - {site: a}\n  - {site: a}\n",
                "job.yaml:6:5: error: distill.features[1].site: 'a' is given twice"},
        Mistake{"distill: {features: [{site: a, weight: 0}]}\n",
                "job.yaml:3:40: error: distill.features[0].weight: expected a number from 0 (not "
                "included) to 1000000, found '0'"},
        Mistake{"distill: {teacher: [a]}\n",
                "job.yaml:3:20: error: distill.teacher: expected a string, found a list"}));

INSTANTIATE_TEST_SUITE_P(
    Adversarial, MethodMistakes,
    testing::Values(
        Mistake{"adversarial: {method: bim}\n",
                "job.yaml:3:23: error: adversarial.method: expected one of fgsm, pgd, found "
                "'bim'"},
        Mistake{"adversarial: {epsilon: 0}\n",
                "job.yaml:3:24: error: adversarial.epsilon: expected a number from 0 (not "
                "included) to 1000000, found '0'"},
        Mistake{"adversarial: {method: fgsm, steps: 3}\n",
                "job.yaml:3:36: error: adversarial.steps: belongs to the method pgd, not to fgsm"},
        Mistake{"adversarial: {weight: 0}\n",
                "job.yaml:3:23: error: adversarial.weight: expected a number from 0 (not "
                "included) to 1, found '0'"},
        Mistake{"adversarial: {phases: [qut]}\n",
                "job.yaml:3:24: error: adversarial.phases: expected float or qat, found 'qut'"},
        Mistake{"adversarial: {phases: [qat, qat]}\n",
                "job.yaml:3:29: error: adversarial.phases: 'qat' is given twice"},
        Mistake{"adversarial: {phases: []}\n",
                "job.yaml:3:23: error: adversarial.phases: expected a list of float and qat, "
                "found a list"}));

}  // namespace
}  // namespace qat::train
