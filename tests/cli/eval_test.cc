#include "base/executor.h"
#include "cli/tiny_files.h"
#include "eval/perplexity.h"

namespace ringflash::testing {
namespace {

class Eval : public TinyFiles {
 protected:
  Outcome evaluate(const std::string& data, const std::vector<std::string>& more = {"--json"}) {
    std::vector<std::string> arguments = {"eval", model_, "--task", "ppl", "--data", data};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_ringflash(arguments);
  }

  const std::string text_ = "Held-out text, with bytes that are no UTF-8: \xC3\x28 \xFF aaaa.\n";
};

TEST_F(Eval, JsonHoldsWhatTheLibraryMeasures) {
  const nlohmann::json object =
      one_object(evaluate(text_file("text", text_), {"--json", "--context", "16", "--overlap", "4"}));
  const Model model = Model::load(model_).value();
  SerialExecutor executor;
  const auto expected =
      evaluate_perplexity(model, executor, text_, {.context = 16, .overlap = 4}, {}).value();
  EXPECT_DOUBLE_EQ(object.value("ppl", 0.0), expected.perplexity());
  EXPECT_DOUBLE_EQ(object.value("bits_per_byte", 0.0), expected.bits_per_byte());
  EXPECT_EQ(object.value("tokens", 0), expected.tokens);
  EXPECT_EQ(object.value("bytes", 0), std::ssize(text_));
  EXPECT_GT(object.value("seconds", 0.0), 0);
}

TEST_F(Eval, ContextAndOverlapMatter) {
  const std::string file = text_file("text", text_);
  const auto ppl = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return one_object(evaluate(file, arguments)).at("ppl");
  };
  EXPECT_EQ(ppl({"--context", "16"}), ppl({"--context", "16", "--overlap", "8"}));  // half is the default
  EXPECT_NE(ppl({"--context", "16"}), ppl({"--context", "16", "--overlap", "0"}));
  EXPECT_EQ(ppl({}), ppl({"--context", "256"}));
}

TEST_F(Eval, TheLineForPeopleSaysTheSame) {
  const std::string file = text_file("text", text_);
  char ppl[32];
  std::snprintf(ppl, sizeof ppl, "%.4f", one_object(evaluate(file)).value("ppl", 0.0));
  const Outcome outcome = evaluate(file, {});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_NE(outcome.out.find(ppl), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("bits per byte"), std::string::npos) << outcome.out;
}

class EvalNeedle : public TinyFiles {
 protected:
  Outcome evaluate(const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"eval", model_, "--task", "needle"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_ringflash(arguments);
  }
};

TEST_F(EvalNeedle, JsonHoldsTheGridAndItsTotals) {
  const nlohmann::json object =
      one_object(evaluate({"--lengths", "100,200", "--depths", "0,50,100", "--samples", "2", "--json"}));
  const nlohmann::json& rows = object.at("rows");
  ASSERT_EQ(rows.size(), 6);
  EXPECT_EQ(rows[4].at("length"), 200);
  EXPECT_EQ(rows[4].at("depth"), 50);
  EXPECT_EQ(rows[4].at("samples"), 2);
  EXPECT_EQ(rows[4].at("accuracy"), rows[4].value("found", -1) / 2.0);
  EXPECT_EQ(object.at("total").at("samples"), 12);
  EXPECT_EQ(object.at("beyond_window").at("samples"), 0);  // the tiny model has a full layer
}

TEST_F(EvalNeedle, TheGridForPeopleHasALinePerLength) {
  const Outcome outcome = evaluate({"--lengths", "100,200", "--depths", "0,100", "--samples", "1"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_NE(outcome.out.find("0%   100%\n"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("\n           200  "), std::string::npos) << outcome.out;
}

TEST_F(EvalNeedle, WritesTheHeatMapAndHidesFactsInATextThatIsGiven) {
  const Outcome outcome = evaluate({"--lengths", "100", "--samples", "1", "--data",
                                    text_file("hay", "Some text. More of it."), "--html", path("map.html")});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  const std::string html = read_file(path("map.html")).value();
  EXPECT_TRUE(html.starts_with("<!doctype html>"));
  EXPECT_NE(html.find("model.gguf"), std::string::npos);
}

TEST_F(EvalNeedle, BadInputIsNamed) {
  expect_failure(evaluate({"--lengths", "257"}), {"257", "256"});
  expect_failure(evaluate({"--lengths", "9"}), {"9 tokens", "too short"});
  expect_failure(evaluate({"--data", text_file("empty", "")}), {"empty: "});
  expect_failure(evaluate({"--lengths", "100", "--html", path("none/map.html")}), {"none/map.html"});
}

TEST_F(Eval, BadInputIsNamed) {
  expect_failure(evaluate(text_file("empty", "")), {"empty: "});
  expect_failure(evaluate(path("none.txt")), {"none.txt", "No such file"});
  expect_failure(evaluate(text_file("text", text_), {"--context", "8", "--overlap", "8"}), {"overlap", "8"});
  const std::string file = text_file("text", text_);
  expect_failure(run_ringflash({"eval", path("none.gguf"), "--task", "ppl", "--data", file}), {"none.gguf"});
  expect_failure(run_ringflash({"eval", bidirectional_model(), "--task", "ppl", "--data", file}),
                 {"both.gguf", "attention_mode"});
}

}  // namespace
}  // namespace ringflash::testing
