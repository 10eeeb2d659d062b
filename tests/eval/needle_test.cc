#include "eval/needle.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/executor.h"
#include "eval/needle_html.h"
#include "eval/needle_prompt.h"
#include "format/config_gguf.h"
#include "format/tokenizer_gguf.h"
#include "model/tensors.h"
#include "support/tiny_model.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

constexpr int64_t kVocabulary = 288;
constexpr const char* kAnswer = "cow";

ModelConfig parrot_config(AttentionKind kind) {
  ModelConfig config = testing::tiny_ring_config();
  config.vocab_size = config.hidden_size = kVocabulary;
  config.num_hidden_layers = 1;
  config.attention = {kind};
  config.ring.window = 64;
  config.ring.stride = 32;
  config.sliding_window = 64;
  config.tie_word_embeddings = false;
  return config;
}

/// A model that knows nothing but its last byte, and after the "l" of "Remember the animal" writes " cow" by that.
Model parrot(AttentionKind kind = AttentionKind::kRing) {
  const ModelConfig config = parrot_config(kind);
  GgufWriter writer;
  write_config(config, writer);
  write_vocabulary(testing::byte_vocabulary(kVocabulary), writer);
  for (const TensorSpec& spec : tensor_inventory(config)) {
    std::vector<float> values(static_cast<size_t>(spec.elements()), spec.role == TensorRole::kNorm ? 1.0f : 0.0f);
    const auto byte_id = [](char c) { return static_cast<size_t>(3 + c); };
    if (spec.name == kEmbeddingTensor) {
      for (size_t id = 0; id < kVocabulary; ++id) values[id * kVocabulary + id] = 1;
    } else if (spec.name == kHeadTensor) {
      const std::string path = std::string("l ") + kAnswer;
      for (size_t i = 1; i < path.size(); ++i) values[byte_id(path[i]) * kVocabulary + byte_id(path[i - 1])] = 1;
    }
    writer.add_tensor(spec.name, GgufType::kF32, spec.shape, [values] {
      const auto bytes = std::as_bytes(std::span(values));
      return std::vector<std::byte>(bytes.begin(), bytes.end());
    });
  }
  const testing::TemporaryDirectory directory;
  EXPECT_TRUE(writer.write(directory / "model.gguf").ok());
  return Model::load(directory / "model.gguf").value();
}

class Needle : public ::testing::Test {
 protected:
  Result<NeedleReport> evaluate(const Model& model, const NeedleOptions& options) {
    return evaluate_needle(model, executor_, "", options, {});
  }

  const Model model_ = parrot();
  SerialExecutor executor_;
};

TEST_F(Needle, CountsTheAnswersThatAreRight) {
  const NeedleOptions options{.lengths = {100, 256}, .depths = {0, 50}, .samples = 150, .seed = 5};
  const NeedleReport report = evaluate(model_, options).value();
  const Haystack haystack(model_.tokenizer(), "", 256);
  int64_t found = 0;
  size_t i = 0;
  for (const int64_t length : options.lengths) {
    for (const int64_t depth : options.depths) {
      const NeedleCell& cell = report.cells.at(i++);
      EXPECT_EQ(cell.length, length);
      EXPECT_EQ(cell.depth, depth);
      EXPECT_EQ(cell.count.samples, 150);
      int64_t expected = 0;
      for (int64_t sample = 0; sample < 150; ++sample) {
        Rng rng = needle_rng(5, length, depth, sample);
        const auto prompt = make_needle_prompt(model_.tokenizer(), haystack, length, depth, rng).value();
        expected += prompt.fact.value == kAnswer ? 1 : 0;
      }
      EXPECT_EQ(cell.count.found, expected);
      found += expected;
    }
  }
  EXPECT_GT(found, 0);  // of 600 facts, that the seed brings none with this value
  EXPECT_EQ(report.total().found, found);
  EXPECT_EQ(report.total().samples, 600);
}

TEST_F(Needle, ACellDoesNotDependOnTheRestOfTheGrid) {
  const NeedleReport grid = evaluate(model_, {.lengths = {100, 200}, .depths = {0, 50, 100}, .samples = 60}).value();
  const NeedleReport alone = evaluate(model_, {.lengths = {200}, .depths = {50}, .samples = 60}).value();
  EXPECT_EQ(grid.cells[4].count.found, alone.cells[0].count.found);
}

TEST_F(Needle, KnowsWhichFactsTheWindowReaches) {
  // The last of some 250 bytes sees back to 160; a question has about twenty.
  const NeedleOptions options{.lengths = {256}, .depths = {0, 50, 100}, .samples = 3};
  const NeedleReport ring = evaluate(model_, options).value();
  EXPECT_TRUE(ring.cells[0].beyond_window);
  EXPECT_TRUE(ring.cells[1].beyond_window);
  EXPECT_FALSE(ring.cells[2].beyond_window);
  EXPECT_EQ(ring.beyond_window().samples, 6);
  const NeedleReport sliding = evaluate(parrot(AttentionKind::kSliding), options).value();
  EXPECT_EQ(sliding.beyond_window().samples, 6);
  const NeedleReport full = evaluate(parrot(AttentionKind::kFull), options).value();
  EXPECT_EQ(full.beyond_window().samples, 0);
  EXPECT_TRUE(std::isnan(full.beyond_window().accuracy()));
}

TEST_F(Needle, ReportsProgressUpToTheEnd) {
  int64_t last = 0, total = 0;
  const NeedleOptions options{.lengths = {100, 256}, .depths = {0, 50}, .samples = 2};
  ASSERT_TRUE(evaluate_needle(model_, executor_, "", options, [&](int64_t done, int64_t all) {
                EXPECT_GT(done, last);
                last = done;
                total = all;
              }).ok());
  EXPECT_EQ(total, 2 * 2 * (100 + 256));
  EXPECT_EQ(last, total);
}

TEST_F(Needle, TheLengthsGoUpToTheContextByDefault) {
  ModelConfig config = model_.config();
  EXPECT_EQ(default_lengths(config), std::vector<int64_t>({256}));
  config.max_position_embeddings = 4096;
  EXPECT_EQ(default_lengths(config), std::vector<int64_t>({1024, 2048, 4096}));
  config.max_position_embeddings = int64_t{1} << 40;
  EXPECT_EQ(default_lengths(config).back(), 131072);
  EXPECT_EQ(evaluate(model_, {.depths = {50}, .samples = 1}).value().lengths, std::vector<int64_t>({256}));
}

TEST_F(Needle, ErrorsNameWhatIsWrong) {
  const auto message = [&](const NeedleOptions& options) {
    const auto report = evaluate(model_, options);
    return report ? std::string() : report.error().message;
  };
  const std::string too_long = message({.lengths = {100, 257}});
  EXPECT_NE(too_long.find("257"), std::string::npos) << too_long;
  EXPECT_NE(too_long.find("256"), std::string::npos) << too_long;
  EXPECT_NE(message({.lengths = {20}}).find("20 tokens is too short"), std::string::npos);
  EXPECT_NE(message({.depths = {101}}).find("101"), std::string::npos);
  EXPECT_NE(message({.depths = {}}).find("depths"), std::string::npos);
  EXPECT_NE(message({.samples = 0}).find("samples"), std::string::npos);
}

TEST(IsNeedleFound, WantsTheValueFirst) {
  EXPECT_TRUE(is_needle_found(" bee", "bee"));
  EXPECT_TRUE(is_needle_found("\nbee. The", "bee"));
  EXPECT_FALSE(is_needle_found(" be", "bee"));
  EXPECT_FALSE(is_needle_found(" a bee", "bee"));
  EXPECT_FALSE(is_needle_found(" ", "bee"));
  EXPECT_FALSE(is_needle_found("", "bee"));
}

TEST(NeedleHtml, ShowsTheGridAndEscapesTheName) {
  NeedleReport report{.lengths = {1024, 40960}, .depths = {0, 100}, .cells = {}};
  int64_t found = 0;
  for (const int64_t length : report.lengths) {
    for (const int64_t depth : report.depths) {
      report.cells.push_back({.length = length,
                              .depth = depth,
                              .count = {.samples = 8, .found = found},
                              .beyond_window = length == 40960 && depth == 0});
      found += 2;
    }
  }
  const ModelConfig config = parrot_config(AttentionKind::kRing);
  const std::string html = needle_html(report, {.model = "<b>&\"'.gguf", .config = config, .parameters = 1'234'567});
  const auto at = [&](const std::string& part) {
    EXPECT_NE(html.find(part), html.npos) << part;
    return html.find(part);
  };
  at("&lt;b&gt;&amp;&quot;&#39;.gguf");
  EXPECT_EQ(html.find("<b>&\"'"), html.npos);
  at("1.2M parameters");
  at("40\u202f960");
  // Depth 0: 0 of 8 and 4 of 8; depth 100: 2 of 8 and 6 of 8.
  EXPECT_LT(at("\"0 of 8 found\">0<"), at("\"4 of 8 found\">50<"));
  EXPECT_LT(at("\"4 of 8 found\">50<"), at("\"2 of 8 found\">25<"));
  EXPECT_LT(at("\"2 of 8 found\">25<"), at("\"6 of 8 found\">75<"));
  at("37.5\u202f%");   // 12 of 32
  at("4 of 8)</span>");  // beyond the window
  EXPECT_EQ(html.find("http"), html.npos);  // nothing from elsewhere
  EXPECT_EQ(html.find("<script"), html.npos);
}

}  // namespace
}  // namespace ringflash
