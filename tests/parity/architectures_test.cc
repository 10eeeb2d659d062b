// Trainer and runtime compute the same of every architecture that is imported.
#include <gtest/gtest.h>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "expect_close.h"
#include "kernels/kernels.h"
#include "runtime/session.h"
#include "support/tiny_model.h"
#include "temporary_directory.h"
#include "train/causal_lm.h"
#include "train/torch_headers.h"

namespace ringflash {
namespace {

constexpr int64_t kTokens = 200;

std::vector<int32_t> random_ids(int64_t vocabulary) {
  Rng rng(3);
  std::vector<int32_t> ids(kTokens);
  for (int32_t& id : ids) id = static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocabulary)));
  return ids;
}

/// In fp32, with every parameter taken from `weights`.
std::vector<float> trainer_logits(const ModelConfig& config, const testing::TinyWeights& weights,
                                  const std::vector<int32_t>& ids) {
  CausalLm model(config, 0);
  torch::NoGradGuard no_grad;
  for (auto& item : model->named_parameters()) {
    const std::vector<float>& values = weights.at(item.key());
    item.value().copy_(torch::tensor(values).view(item.value().sizes()));
  }
  const torch::Tensor input = torch::tensor(ids, torch::kInt32).to(torch::kInt64);
  const torch::Tensor logits = model->logits(input, {0, kTokens}, torch::kFloat32).contiguous();
  return {logits.data_ptr<float>(), logits.data_ptr<float>() + logits.numel()};
}

std::vector<float> runtime_logits(const Model& model, const std::vector<int32_t>& ids) {
  ThreadPool pool(2);
  Session session(model, pool, kTokens);
  std::vector<float> all;
  const auto take = [&](int64_t, int64_t count, const float* logits) {
    all.insert(all.end(), logits, logits + count * model.config().vocab_size);
  };
  EXPECT_TRUE(session.append(ids, LogitsFor::kAll, take).ok());
  return all;
}

class Architectures : public ::testing::TestWithParam<const char*> {};

// Both run the same kernels on the same fp32 weights, and differ in the order of their sums: 2e-4 of the logits' size
// for deeper models than this (docs/numerics.md). Logits are of the order of 1. Where attention takes bf16, each of the
// two layers rounds q, k, v and the weights of attention by itself on either side, half a unit of 2^-8 each, and what
// follows leaves that as it is: 4 deviations of sqrt(2 * 4 * 2) such roundings.
void expect_parity(const testing::TinyModelOptions& options) {
  const testing::TemporaryDirectory directory;
  const testing::TinyWeights weights = testing::write_tiny_gguf(directory / "model.gguf", options);
  const Model model = Model::load(directory / "model.gguf").value();
  const std::vector<int32_t> ids = random_ids(options.config.vocab_size);
  const bool rounds = kernels::table().key_type == kernels::KeyType::kBf16;
  const double tolerance = rounds ? 4 * 4 * 0x1p-8 / 1.7320508 : 2e-4;
  testing::expect_close(runtime_logits(model, ids), trainer_logits(options.config, weights, ids),
                        {.absolute = tolerance, .relative = 2e-4});
}

TEST_P(Architectures, TrainerAndRuntimeAgree) {
  testing::TinyModelOptions options;
  options.config = testing::tiny_imported_config(GetParam());
  options.config.rope_scaling = {.type = RopeScalingType::kYarn,
                                 .factor = 4,
                                 .original_positions = 64,
                                 .attention_factor = yarn_attention_factor(4)};
  expect_parity(options);
}

TEST(SharedWeights, TrainerAndRuntimeAgree) {
  for (const char* architecture : {"llama", "gemma3"}) {
    SCOPED_TRACE(architecture);
    testing::TinyModelOptions options;
    options.config = testing::tiny_imported_config(architecture);
    options.config.sharing = {.group_size = 2, .kinds = {"q_proj", "v_proj", "up_proj", "down_proj"}, .rank = 3};
    expect_parity(options);
  }
}

// The parameters that only some architectures have learn, too.
TEST_P(Architectures, EveryParameterHasAGradient) {
  const ModelConfig config = testing::tiny_imported_config(GetParam());
  CausalLm model(config, 1);
  const torch::Tensor ids = torch::tensor(random_ids(config.vocab_size), torch::kInt32).to(torch::kInt64);
  model->loss_sum(ids, ids.roll(-1), {0, kTokens}, torch::kFloat32).backward();
  for (const auto& item : model->named_parameters()) {
    // A bias of k moves all logits of a query alike, but for the rotation between them.
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    EXPECT_GT(item.value().grad().abs().max().item<float>(), 0) << item.key();
  }
}

INSTANTIATE_TEST_SUITE_P(Imported, Architectures, ::testing::ValuesIn(testing::kImportedArchitectures),
                         [](const auto& instance) { return std::string(instance.param); });

}  // namespace
}  // namespace ringflash
