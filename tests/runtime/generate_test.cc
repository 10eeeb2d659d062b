#include "runtime/generate.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "support/tiny_model.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

using testing::TemporaryDirectory;

Model tiny_model() {
  const TemporaryDirectory directory;
  testing::TinyModelOptions options;
  options.config = testing::tiny_ring_config();
  write_tiny_gguf(directory / "model.gguf", options);
  return Model::load(directory / "model.gguf").value();  // the map outlives the name
}

class Generate : public ::testing::Test {
 protected:
  struct Run {
    GenerateReport report;
    std::vector<int32_t> ids;
  };

  Run run(Session& session, std::span<const int32_t> prompt, const GenerateOptions& options) {
    Run run;
    run.report = generate(session, prompt, options, [&](int32_t id) {
                   run.ids.push_back(id);
                   return true;
                 }).value();
    return run;
  }

  static GenerateOptions greedy(int64_t max_tokens) {
    GenerateOptions options;
    options.max_tokens = max_tokens;
    options.sampling.temperature = 0;
    options.ignore_eos = true;
    return options;
  }

  std::string error_of(std::span<const int32_t> prompt, const GenerateOptions& options, int64_t context) {
    Session session(model_, executor_, context);
    const auto result = generate(session, prompt, options, [](int32_t) { return true; });
    return result ? std::string() : result.error().message;
  }

  const Model model_ = tiny_model();
  SerialExecutor executor_;
  const std::vector<int32_t> prompt_ = model_.tokenizer().encode_prompt("ring attention, aaaa");
};

TEST_F(Generate, ThePromptIsBosAndTheText) {
  const std::vector<int32_t> ids = model_.tokenizer().encode_prompt("A\n");
  EXPECT_EQ(ids, (std::vector<int32_t>{1, 3 + 'A', 3 + '\n'}));  // byte pieces follow the 3 special ones
  EXPECT_EQ(model_.tokenizer().encode_prompt(""), (std::vector<int32_t>{1}));
}

TEST_F(Generate, GreedyTokensAreTheLikeliestAfterEverythingBefore) {
  Session session(model_, executor_);
  const Run result = run(session, prompt_, greedy(40));
  ASSERT_EQ(result.ids.size(), 40u);
  std::vector<int32_t> text = prompt_;
  for (const int32_t id : result.ids) {
    Session fresh(model_, executor_);
    std::vector<float> logits;
    ASSERT_TRUE(fresh
                    .append(text, LogitsFor::kLast,
                            [&](int64_t, int64_t, const float* row) {
                              logits.assign(row, row + model_.config().vocab_size);
                            })
                    .ok());
    EXPECT_EQ(id, std::max_element(logits.begin(), logits.end()) - logits.begin()) << "after " << text.size();
    text.push_back(id);
  }
}

TEST_F(Generate, CountsWhatItDid) {
  Session session(model_, executor_);
  const Run result = run(session, prompt_, greedy(5));
  EXPECT_EQ(result.report.prompt_tokens, static_cast<int64_t>(prompt_.size()));
  EXPECT_EQ(result.report.generated_tokens, 5);
  EXPECT_EQ(result.report.decode_steps, 4);
  EXPECT_EQ(result.report.stop, StopReason::kMaxTokens);
  EXPECT_EQ(session.position(), static_cast<int64_t>(prompt_.size()) + 4);
  EXPECT_GT(result.report.prefill_tokens_per_s(), 0);
  EXPECT_GT(result.report.decode_tokens_per_s(), 0);
}

TEST_F(Generate, NoTokensAreOnlyThePrompt) {
  Session session(model_, executor_);
  const Run result = run(session, prompt_, greedy(0));
  EXPECT_TRUE(result.ids.empty());
  EXPECT_EQ(result.report.stop, StopReason::kMaxTokens);
  EXPECT_EQ(session.position(), static_cast<int64_t>(prompt_.size()));
  EXPECT_TRUE(std::isnan(result.report.decode_tokens_per_s()));
}

TEST_F(Generate, TheLastTokenContinuesTheSession) {
  Session whole(model_, executor_);
  const std::vector<int32_t> expected = run(whole, prompt_, greedy(20)).ids;
  Session session(model_, executor_);
  std::vector<int32_t> ids = run(session, prompt_, greedy(8)).ids;
  const std::vector<int32_t> last = {ids.back()};
  const std::vector<int32_t> rest = run(session, last, greedy(12)).ids;
  ids.insert(ids.end(), rest.begin(), rest.end());
  EXPECT_EQ(ids, expected);
}

TEST_F(Generate, StopsAtEndOfTextUnlessToldNotTo) {
  GenerateOptions options;
  options.max_tokens = 1000;
  options.sampling = {.temperature = 1000, .top_k = 0, .top_p = 1, .seed = 1};  // near to uniform: EOS comes
  options.ignore_eos = true;
  Session endless(model_, executor_, 2000);
  const Run all = run(endless, prompt_, options);
  EXPECT_EQ(all.report.generated_tokens, 1000);
  const auto eos = std::find(all.ids.begin(), all.ids.end(), 2);
  ASSERT_NE(eos, all.ids.end());

  options.ignore_eos = false;
  Session session(model_, executor_, 2000);
  const Run result = run(session, prompt_, options);
  EXPECT_EQ(result.ids, std::vector<int32_t>(all.ids.begin(), eos));
  EXPECT_EQ(result.report.stop, StopReason::kEndOfText);
  EXPECT_EQ(result.report.generated_tokens, eos - all.ids.begin());
}

TEST_F(Generate, StopsWhereTheContextIsFull) {
  const auto size = static_cast<int64_t>(prompt_.size());
  Session session(model_, executor_, size + 4);
  const Run result = run(session, prompt_, greedy(100));
  EXPECT_EQ(result.report.generated_tokens, 5);  // the fifth is predicted from a full context
  EXPECT_EQ(result.report.stop, StopReason::kContextFull);
}

TEST_F(Generate, StopsWhenTheCallbackSaysSo) {
  Session session(model_, executor_);
  int calls = 0;
  const auto report = generate(session, prompt_, greedy(100), [&](int32_t) { return ++calls < 3; }).value();
  EXPECT_EQ(report.generated_tokens, 3);
  EXPECT_EQ(report.stop, StopReason::kCallback);
}

TEST_F(Generate, RepetitionPenaltySeesPromptAndContinuation) {
  GenerateOptions options = greedy(30);
  options.sampling.repetition_penalty = 1e6;  // nothing that was seen comes again
  Session session(model_, executor_);
  std::vector<int32_t> ids = run(session, prompt_, options).ids;
  std::vector<int32_t> text = prompt_;
  std::sort(text.begin(), text.end());
  for (const int32_t id : ids) EXPECT_FALSE(std::binary_search(text.begin(), text.end(), id)) << id;
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(std::adjacent_find(ids.begin(), ids.end()), ids.end());
}

TEST_F(Generate, TextComesInWholeCharactersAndInvalidBytesAreReplaced) {
  GenerateOptions options;
  options.max_tokens = 300;
  options.sampling = {.temperature = 1000, .top_k = 0, .top_p = 1, .seed = 3};  // random bytes
  options.ignore_eos = true;
  Session by_ids(model_, executor_, 2000);
  Utf8Stream stream;
  const std::vector<int32_t> ids = run(by_ids, model_.tokenizer().encode_prompt("x"), options).ids;
  const std::string expected = stream.push(model_.tokenizer().decode(ids)) + stream.finish();
  ASSERT_NE(expected.find("\xEF\xBF\xBD"), std::string::npos);  // some were invalid

  Session session(model_, executor_, 2000);
  std::string text;
  const auto report = generate_text(session, "x", options, [&](std::string_view piece) {
    EXPECT_FALSE(piece.empty());
    text += piece;
    return true;
  });
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->generated_tokens, 300);
  EXPECT_EQ(text, expected);
}

TEST_F(Generate, NoTextFollowsAStop) {
  Session session(model_, executor_);
  GenerateOptions options = greedy(50);
  options.sampling = {.temperature = 1000, .top_k = 0, .top_p = 1, .seed = 3};  // some text among any pieces
  options.ignore_eos = true;
  int calls = 0;
  const auto report = generate_text(session, "x", options, [&](std::string_view) { return ++calls, false; });
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->stop, StopReason::kCallback);
  EXPECT_EQ(calls, 1);
}

TEST_F(Generate, ErrorsSayWhatIsWrong) {
  EXPECT_NE(error_of({}, greedy(1), 0).find("no tokens"), std::string::npos);
  const std::string too_long = error_of(prompt_, greedy(1), 7);
  EXPECT_NE(too_long.find(std::to_string(prompt_.size())), std::string::npos) << too_long;
  EXPECT_NE(too_long.find("7"), std::string::npos) << too_long;
  EXPECT_NE(error_of(prompt_, greedy(-1), 0).find("-1"), std::string::npos);
  GenerateOptions options = greedy(1);
  options.sampling.top_p = 2;
  EXPECT_NE(error_of(prompt_, options, 0).find("top-p"), std::string::npos);
  EXPECT_NE(error_of(std::vector<int32_t>{1, 288}, greedy(1), 0).find("288"), std::string::npos);
}

}  // namespace
}  // namespace ringflash
