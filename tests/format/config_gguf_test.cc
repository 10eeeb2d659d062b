#include "format/config_gguf.h"
#include "format/tokenizer_gguf.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "format/tiny_checkpoint.h"
#include "model/presets.h"
#include "support/tiny_model.h"
#include "temporary_directory.h"
#include "text/sentencepiece_model.h"

namespace ringflash {
namespace {

using testing::tiny_config;

class ConfigGgufTest : public ::testing::Test {
 protected:
  GgufFile reopen(const GgufWriter& writer) {
    const Status status = writer.write(path_);
    EXPECT_TRUE(status) << status.error().message;
    return GgufFile::open(path_).value();
  }
  /// The config after one key was replaced.
  std::string error_with(const std::string& key, GgufValue value) {
    GgufWriter writer;
    write_config(tiny_config(), writer);
    writer.set(key, std::move(value));
    const auto config = read_config(reopen(writer));
    return config ? "accepted" : config.error().message;
  }

  testing::TemporaryDirectory directory_;
  std::filesystem::path path_ = directory_ / "model.gguf";
};

TEST_F(ConfigGgufTest, EveryNumberComesBackExactly) {
  std::vector<ModelConfig> configs = {tiny_config()};
  for (const Preset& preset : presets()) configs.push_back(preset.config);
  configs[0].max_position_embeddings = int64_t{1} << 40;  // beyond a u32
  configs[0].bos_token_id = 7;
  configs[0].eos_token_id = 9;
  configs[0].tie_word_embeddings = false;
  configs[0].attention_mode = AttentionMode::kBidirectional;
  configs[1].ring.select = GlobalSelect::kTopPages;
  configs[0].sparsity = {SparsePattern::kBlock, 16, 8, {"k_proj=fine", "v_proj=none"}};
  configs[0].sharing = {.group_size = 2, .kinds = {"v_proj", "gate_proj"}, .rank = 7};
  configs[1].ring.top_pages_factor = 7;
  configs[1].ring.top_pages_run = 64;
  configs[2].rope_scaling = {.type = RopeScalingType::kYarn, .factor = 3.7, .original_positions = 4096};
  configs[3].rope_scaling = {.type = RopeScalingType::kLlama3, .factor = 32, .original_positions = 8192};
  for (const char* architecture : testing::kImportedArchitectures) {
    configs.push_back(testing::tiny_imported_config(architecture));
  }
  for (const ModelConfig& config : configs) {
    GgufWriter writer;
    write_config(config, writer);
    const auto read = read_config(reopen(writer));
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, config);
  }
}

TEST_F(ConfigGgufTest, StandardKeysAreWhereToolsLookForThem) {
  GgufWriter writer;
  write_config(tiny_config(), writer);
  const GgufFile file = reopen(writer);
  EXPECT_EQ(file.text("general.architecture").value(), "ringflash");
  EXPECT_EQ(file.metadata().at("ringflash.context_length"), GgufValue(uint32_t{64}));
  EXPECT_EQ(file.metadata().at("ringflash.embedding_length"), GgufValue(uint32_t{64}));
  EXPECT_EQ(file.metadata().at("ringflash.block_count"), GgufValue(uint32_t{2}));
  EXPECT_EQ(file.metadata().at("ringflash.feed_forward_length"), GgufValue(uint32_t{48}));
  EXPECT_EQ(file.metadata().at("ringflash.attention.head_count"), GgufValue(uint32_t{2}));
  EXPECT_EQ(file.metadata().at("ringflash.attention.head_count_kv"), GgufValue(uint32_t{1}));
  EXPECT_EQ(file.metadata().at("ringflash.attention.key_length"), GgufValue(uint32_t{32}));
  EXPECT_EQ(file.metadata().at("ringflash.attention.kinds"),
            GgufValue(GgufArray(std::vector<std::string>{"ring", "full"})));
}

constexpr std::string_view kAddedLater[] = {
    "ringflash.ring.top_pages_factor",  "ringflash.ring.top_pages_run",   "ringflash.attention.mode",
    "ringflash.activation",             "ringflash.attention.bias",       "ringflash.attention.qk_norm",
    "ringflash.post_norms",             "ringflash.rope.freq_base_swa",   "ringflash.attention.sliding_window"};

TEST_F(ConfigGgufTest, OlderFilesLackTheKeysThatWereAddedLater) {
  GgufWriter current;
  write_config(tiny_config(), current);
  GgufWriter older;
  const GgufFile file = reopen(current);
  for (const auto& [key, value] : file.metadata()) {
    const bool scaling = key.find("rope.scaling") != std::string::npos;
    const bool added_later = std::ranges::find(kAddedLater, key) != std::end(kAddedLater);
    if (!scaling && !added_later) older.set(key, value);
  }
  const GgufFile old_file = reopen(older);
  EXPECT_EQ(old_file.metadata().size(), file.metadata().size() - 8 - std::size(kAddedLater));
  const auto read = read_config(old_file);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, tiny_config());
}

TEST_F(ConfigGgufTest, ErrorsNameTheKey) {
  const std::string place = path_.string() + ": ";
  EXPECT_EQ(error_with("general.architecture", std::string("llama")),
            place + "'general.architecture' must be 'ringflash', found 'llama'; ringflash import makes a checkpoint of other "
                    "models, and ringflash export a file of that");
  EXPECT_EQ(error_with("ringflash.block_count", 2.0),
            place + "'ringflash.block_count' must be an integer below 2^63, found f64 2.000000");
  EXPECT_EQ(error_with("ringflash.ring.window", uint32_t{33}),
            place + "'window' must be a multiple of stride (16), found 33");
  EXPECT_EQ(error_with("ringflash.attention.kinds", GgufArray(std::vector<std::string>{"ring", "oval"})),
            place + "'attention' must be \"ring\", \"full\" or \"sliding\", found 'oval'");
  EXPECT_EQ(error_with("ringflash.attention.mode", std::string("both")),
            place + "'attention_mode' must be \"causal\" or \"bidirectional\", found 'both'");
  EXPECT_EQ(error_with("ringflash.ring.top_pages_factor", uint32_t{0}),
            place + "'top_pages_factor' must be between 1 and 4096, found 0");
  EXPECT_EQ(error_with("ringflash.attention.kinds", GgufArray(std::vector<int32_t>{1, 2})),
            place + "'ringflash.attention.kinds' must be an array of strings, found another element type");
  EXPECT_EQ(error_with("ringflash.attention.kinds", GgufArray(std::vector<std::string>{"ring"})),
            place + "'attention' must be a list of one entry per layer (2), found 1 entries");
  EXPECT_EQ(error_with("ringflash.ring.global_ratio", std::numeric_limits<double>::quiet_NaN()),
            place + "'global_ratio' must be in [0, 1], found nan");
  EXPECT_EQ(error_with("ringflash.ring.global_rope", uint8_t{1}),
            place + "'ringflash.ring.global_rope' must be a bool, found u8 1");
}

TEST_F(ConfigGgufTest, VocabularyComesBack) {
  Vocabulary vocabulary = parse_sentencepiece_model(testing::tiny_tokenizer()).value();
  vocabulary.add_dummy_prefix = true;
  GgufWriter writer;
  write_vocabulary(vocabulary, writer);
  const GgufFile file = reopen(writer);
  const auto read = read_vocabulary(file);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, vocabulary);
  EXPECT_EQ(file.text("tokenizer.ggml.model").value(), "llama");
}

TEST_F(ConfigGgufTest, SpoiledVocabulariesAreRefused) {
  const Vocabulary vocabulary = parse_sentencepiece_model(testing::tiny_tokenizer()).value();
  const auto error_of = [&](const std::string& key, GgufValue value) -> std::string {
    GgufWriter writer;
    write_vocabulary(vocabulary, writer);
    writer.set(key, std::move(value));
    const auto read = read_vocabulary(reopen(writer));
    return read ? "accepted" : read.error().message.substr(path_.string().size());
  };
  EXPECT_EQ(error_of("tokenizer.ggml.model", std::string("bert")),
            ": 'tokenizer.ggml.model' must be 'llama' (sentencepiece BPE), 'gpt2' (byte-level BPE) or 't5' (unigram), "
            "found 'bert'");
  EXPECT_EQ(error_of("tokenizer.ggml.scores", GgufArray(std::vector<float>{1})),
            ": 'tokenizer.ggml.scores' must have as many elements as there are tokens, 261, found 1");
  EXPECT_EQ(error_of("tokenizer.ggml.token_type", GgufArray(std::vector<int32_t>(261, 7))),
            ": 'tokenizer.ggml.token_type' must hold numbers from 1 to 6, found 7 for token 0");
  EXPECT_EQ(error_of("tokenizer.ggml.bos_token_id", int64_t{1} << 32),
            ": 'tokenizer.ggml.bos_token_id' must be a token id, found 4294967296");
  EXPECT_NE(error_of("tokenizer.ggml.eos_token_id", uint32_t{261}), "accepted");
  EXPECT_NE(error_of("tokenizer.ggml.tokens", GgufArray(std::vector<std::string>(261, "same"))), "accepted");
}

}  // namespace
}  // namespace ringflash
