#include "eval/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/thread_pool.h"
#include "runtime/generate.h"
#include "support/tiny_model.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

Model two_layer_model() {
  const testing::TemporaryDirectory directory;
  testing::TinyModelOptions options;
  options.config = testing::tiny_ring_config();
  options.config.num_hidden_layers = 2;
  options.config.attention = {AttentionKind::kRing, AttentionKind::kFull};
  options.config.max_position_embeddings = 48;
  write_tiny_gguf(directory / "model.gguf", options);
  return Model::load(directory / "model.gguf").value();
}

/// A hundred bytes, some of them no UTF-8.
std::string sample_text() {
  std::string text = "Perplexity is two to the bits. \xFF\x80 aaaa bbbb ";
  while (text.size() < 100) text += static_cast<char>('a' + text.size() * 7 % 23);
  return text;
}

class Perplexity : public ::testing::Test {
 protected:
  Result<PerplexityReport> evaluate(std::string_view text, PerplexityOptions options) {
    return evaluate_perplexity(model_, executor_, text, options, {});
  }

  /// -log p(next | ids) by the softmax's formula, from a session that saw nothing else.
  double naive_surprise(std::span<const int32_t> ids, int32_t next) {
    Session session(model_, executor_, static_cast<int64_t>(ids.size()));
    double nats = NAN;
    const Status status = session.append(ids, LogitsFor::kLast, [&](int64_t, int64_t, const float* logits) {
      long double sum = 0;
      for (int64_t i = 0; i < model_.config().vocab_size; ++i) sum += std::exp(1.0L * logits[i]);
      nats = static_cast<double>(std::log(sum) - logits[next]);
    });
    EXPECT_TRUE(status.ok());
    return nats;
  }

  /// For each token, looks for the first window that can predict it.
  double naive_nats(std::span<const int32_t> ids, size_t context, size_t overlap) {
    double nats = 0;
    for (size_t target = 1; target < ids.size(); ++target) {
      size_t start = 0;
      while (start + context < target) start += context - overlap;
      nats += naive_surprise(ids.subspan(start, target - start), ids[target]);
    }
    return nats;
  }

  const Model model_ = two_layer_model();
  SerialExecutor executor_;
};

TEST_F(Perplexity, IsTheNaiveSumOverTheWindows) {
  struct Case {
    PerplexityOptions options;
    size_t context, overlap;
  };
  const std::vector<Case> cases = {
      {{}, 48, 24},  // the model's context, half of it repeated
      {{.context = 32, .overlap = 5}, 32, 5},
      {{.context = 7, .overlap = 6}, 7, 6},
      {{.context = 16, .overlap = 0}, 16, 0},
      {{.context = 1, .overlap = 0}, 1, 0},
      {{.context = 1000, .overlap = 10}, 1000, 10},
  };
  const std::string text = sample_text();
  const std::vector<int32_t> ids = model_.tokenizer().encode_prompt(text);
  ASSERT_LT(ids.size(), text.size());  // tokens and bytes are told apart
  for (const Case& c : cases) {
    const auto report = evaluate(text, c.options);
    ASSERT_TRUE(report.ok()) << report.error().message;
    EXPECT_EQ(report->tokens, static_cast<int64_t>(ids.size()) - 1);
    EXPECT_EQ(report->bytes, static_cast<int64_t>(text.size()));
    // Logits of a few units, rounded to fp32 in another order of computation: a few 1e-6 a token, and many
    // tokens' errors do not add up in one direction.
    EXPECT_NEAR(report->nats, naive_nats(ids, c.context, c.overlap), 1e-5 * static_cast<double>(ids.size()))
        << "context " << c.context << ", overlap " << c.overlap;
  }
}

TEST_F(Perplexity, LongerContextsAndOverlapsAreDifferentMeasurements) {
  // What the test above compares would not tell windows apart if the model ignored its context.
  const double alone = evaluate(sample_text(), {.context = 1, .overlap = 0})->nats;
  const double together = evaluate(sample_text(), {.context = 32, .overlap = 5})->nats;
  EXPECT_GT(std::abs(alone - together), 0.1);
}

TEST_F(Perplexity, DoesNotDependOnTheThreads) {
  ThreadPool pool(3);
  const auto parallel = evaluate_perplexity(model_, pool, sample_text(), {}, {});
  ASSERT_TRUE(parallel.ok());
  EXPECT_EQ(parallel->nats, evaluate(sample_text(), {})->nats);
}

TEST_F(Perplexity, ReportsProgressUpToTheEnd) {
  int64_t last = 0, total = 0;
  const auto report =
      evaluate_perplexity(model_, executor_, sample_text(), {}, [&](int64_t done, int64_t all) {
        EXPECT_GT(done, last);
        last = done;
        total = all;
      });
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(last, report->tokens);
  EXPECT_EQ(total, report->tokens);
}

TEST_F(Perplexity, ErrorsNameTheOption) {
  const auto message = [&](std::string_view text, PerplexityOptions options) {
    const auto report = evaluate(text, options);
    return report ? std::string() : report.error().message;
  };
  EXPECT_NE(message("", {}).find("empty"), std::string::npos);
  EXPECT_NE(message("x", {.context = -1}).find("context"), std::string::npos);
  EXPECT_NE(message("x", {.context = 8, .overlap = 8}).find("overlap"), std::string::npos);
  EXPECT_NE(message("x", {.context = 8, .overlap = -2}).find("overlap"), std::string::npos);
  EXPECT_EQ(message("x", {.context = 8, .overlap = 7}), "");
}

TEST(PerplexityReport, HasTheTextbookFormulas) {
  // 12 bits over 4 tokens and 6 bytes: 3 bits a token, 2 bits a byte.
  const PerplexityReport report{.nats = 12 * std::log(2.0), .tokens = 4, .bytes = 6, .seconds = 0};
  EXPECT_NEAR(report.perplexity(), 8, 1e-12);
  EXPECT_NEAR(report.bits_per_byte(), 2, 1e-12);
}

}  // namespace
}  // namespace ringflash
