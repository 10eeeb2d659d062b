#include <gtest/gtest.h>
#include <ringflash/ringflash.h>

#include <optional>

#include "base/executor.h"
#include "runtime/generate.h"
#include "support/tiny_model.h"
#include "temporary_directory.h"

namespace ringflash::api {
namespace {

class Api : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::TinyModelOptions options;
    options.config = testing::tiny_ring_config();
    write_tiny_gguf(file_, options);
    model_.emplace(file_, 2);
  }

  /// The message of the Error that `call` throws; empty if it throws none.
  template <typename Call>
  static std::string error_of(Call call) {
    try {
      call();
    } catch (const Error& error) {
      return error.what();
    }
    return {};
  }

  const testing::TemporaryDirectory directory_;
  const std::filesystem::path file_ = directory_ / "model.gguf";
  std::optional<Model> model_;
};

TEST_F(Api, TellsWhatTheModelIs) {
  EXPECT_EQ(model_->vocab_size(), 288);
  EXPECT_EQ(model_->context(), 256);
  EXPECT_EQ(model_->bos_id(), 1);
  EXPECT_EQ(model_->eos_id(), 2);
}

TEST_F(Api, EncodesAndDecodesAnyBytes) {
  const std::string text = "r\xC3\xADng\n\xFF aaa";
  const std::vector<int32_t> ids = model_->encode(text);
  EXPECT_LT(ids.size(), text.size());  // "aaa" is one piece
  EXPECT_EQ(model_->decode(ids), text);
  for (const int32_t id : {-1, 288}) {
    EXPECT_NE(error_of([&] { (void)model_->decode(std::vector<int32_t>{id}); }).find(std::to_string(id)),
              std::string::npos);
  }
}

TEST_F(Api, GeneratesWhatTheRuntimeGenerates) {
  GenerateOptions options;
  options.max_tokens = 50;
  options.context = 60;
  options.temperature = 1.5;
  options.top_k = 20;
  options.top_p = 0.9;
  options.repetition_penalty = 1.2;
  options.seed = 5;
  options.ignore_eos = true;
  std::string streamed;
  const Generation generation = model_->generate("a prompt", options, [&](std::string_view piece) {
    streamed += piece;
    return true;
  });

  const auto internal = ringflash::Model::load(file_).value();
  SerialExecutor executor;
  ringflash::Session session(internal, executor, 60);
  ringflash::GenerateOptions same{.max_tokens = 50, .sampling = {}, .ignore_eos = true};
  same.sampling = {.temperature = 1.5, .top_k = 20, .top_p = 0.9, .repetition_penalty = 1.2, .seed = 5};
  std::string expected;
  const auto report = generate_text(session, "a prompt", same, [&](std::string_view piece) {
    expected += piece;
    return true;
  });
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(generation.text, expected);
  EXPECT_EQ(streamed, expected);
  EXPECT_EQ(generation.prompt_tokens, 9);
  EXPECT_EQ(generation.generated_tokens, 50);
  EXPECT_EQ(generation.stop, StopReason::kMaxTokens);
}

TEST_F(Api, StopsWhenTheCallbackSaysSo) {
  const Generation generation = model_->generate("x", {}, [](std::string_view) { return false; });
  EXPECT_EQ(generation.stop, StopReason::kCallback);
  EXPECT_FALSE(generation.text.empty());
}

TEST_F(Api, SessionsGiveTheRuntimesLogits) {
  const std::vector<int32_t> ids = {1, 70, 80, 90, 100, 110, 120, 130, 140, 150};
  Session session(*model_, 16);
  const Model moved = std::move(*model_);  // sessions stay with it
  const std::vector<float> logits = session.append(ids);
  EXPECT_EQ(session.position(), 10);

  const auto internal = ringflash::Model::load(file_).value();
  SerialExecutor executor;
  ringflash::Session expected(internal, executor, 16);
  int rows = 0;
  ASSERT_TRUE(expected
                  .append(ids, LogitsFor::kLast,
                          [&](int64_t, int64_t count, const float* row) {
                            rows += static_cast<int>(count);
                            EXPECT_EQ(logits, std::vector<float>(row, row + 288));
                          })
                  .ok());
  EXPECT_EQ(rows, 1);
}

TEST_F(Api, BadInputThrowsErrorsThatSayWhatIsWrong) {
  EXPECT_NE(error_of([&] { Model(directory_ / "none.gguf"); }).find("none.gguf"), std::string::npos);
  EXPECT_NE(error_of([&] { Model(file_, -1); }).find("threads"), std::string::npos);
  EXPECT_NE(error_of([&] { (void)model_->generate("x", {.temperature = -1}); }).find("temperature"),
            std::string::npos);
  EXPECT_NE(error_of([&] { (void)model_->generate("x", {.context = -1}); }).find("context"),
            std::string::npos);
  EXPECT_NE(error_of([&] { (void)model_->generate("12345", {.context = 5}); }).find("6 tokens"),
            std::string::npos);

  Session session(*model_, 2);
  EXPECT_NE(error_of([&] { (void)session.append({}); }), "");
  EXPECT_NE(error_of([&] {
              (void)session.append(std::vector<int32_t>{1, 288});
            }).find("288"),
            std::string::npos);
  EXPECT_NE(error_of([&] { (void)session.append(std::vector<int32_t>{1, 3, 4}); }), "");
  EXPECT_EQ(session.position(), 0);
}

}  // namespace
}  // namespace ringflash::api
