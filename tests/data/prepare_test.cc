#include "data/prepare.h"

#include <gtest/gtest.h>

#include <set>

#include "base/file.h"
#include "data/corpus.h"
#include "documents.h"
#include "text/mixed_text.h"
#include "text/tokenizer.h"
#include "text/tokenizer_files.h"

namespace ringflash {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryDirectory;

class PrepareTest : public ::testing::Test {
 protected:
  PrepareTest() {
    fs::create_directory(directory_ / "corpus");
    for (int i = 0; i < 100; ++i)
      write("doc" + std::to_string(i), testing::mixed_text(static_cast<uint64_t>(i), 3000, true));
    options_.paths = {directory_ / "corpus"};
    options_.directory = directory_ / "data";
    options_.vocab_size = 600;
    options_.sequence_length = 128;
    options_.heldout_fraction = 0.1;
    options_.quiet = true;
  }

  void write(const std::string& name, const std::string& text) {
    testing::overwrite(directory_ / "corpus" / name, text);
  }
  void clear_corpus() {
    fs::remove_all(directory_ / "corpus");
    fs::create_directory(directory_ / "corpus");
  }
  std::string error() const {
    const auto result = prepare_data(options_);
    return result ? "no error" : result.error().message;
  }
  std::vector<std::string> corpus() const {
    std::vector<std::string> documents;
    for_each_document(list_corpus(options_.paths).value(), [&](std::string_view document) -> Status {
      documents.emplace_back(document);
      return {};
    }).value();
    return documents;
  }

  TemporaryDirectory directory_;
  PrepareOptions options_;
};

TEST_F(PrepareTest, TokenisesEveryDocumentOnItsSide) {
  const PreparedData data = prepare_data(options_).value();
  EXPECT_FALSE(data.reused);
  const Tokenizer tokenizer = Tokenizer::create(data.vocabulary).value();
  int64_t train = 0, heldout = 0, heldout_bytes = 0;
  std::string heldout_text;
  for (const std::string& document : corpus()) {
    const bool held_out = is_held_out(document, options_.heldout_fraction);
    auto ids = testing::read_document(held_out ? data.heldout : data.train, held_out ? heldout++ : train++);
    EXPECT_EQ(ids.front(), data.vocabulary.bos_id);
    EXPECT_EQ(ids.back(), data.vocabulary.eos_id);
    EXPECT_EQ(tokenizer.decode(ids), document);
    if (!held_out) continue;
    heldout_bytes += std::ssize(document);
    heldout_text += document + (document.ends_with('\n') ? "" : "\n");
  }
  EXPECT_EQ(data.train.documents(), train);
  EXPECT_EQ(data.heldout.documents(), heldout);
  EXPECT_GT(heldout, 1);
  EXPECT_EQ(data.heldout.text_bytes(), heldout_bytes);
  EXPECT_EQ(read_file(data.heldout_text).value(), heldout_text);
  EXPECT_FALSE(fs::exists(options_.directory / "heldout.txt.tmp"));
}

TEST_F(PrepareTest, ReusesWhatIsDone) {
  prepare_data(options_).value();
  options_.sequence_length = 64;
  EXPECT_TRUE(prepare_data(options_).value().reused);
}

TEST_F(PrepareTest, ReusesWhatIsDoneWithTheTokenizerItTrained) {
  const PreparedData first = prepare_data(options_).value();
  options_.tokenizer = directory_ / "checkpoint";
  fs::create_directory(*options_.tokenizer);
  ASSERT_TRUE(copy_tokenizer(first.tokenizer, *options_.tokenizer).ok());
  EXPECT_TRUE(prepare_data(options_).value().reused);
}

TEST_F(PrepareTest, StartsAnewWhenSomethingChanged) {
  const auto expect_anew = [&](const char* why) {
    EXPECT_FALSE(prepare_data(options_).value().reused) << why;
    EXPECT_TRUE(prepare_data(options_).value().reused) << why;
  };
  expect_anew("first run");
  write("doc7", "changed");
  expect_anew("a file changed");
  fs::remove(directory_ / "corpus/doc8");
  expect_anew("a file is gone");
  options_.vocab_size = 610;
  expect_anew("another vocabulary size");
  options_.heldout_fraction = 0.2;
  expect_anew("another split");
  fs::remove(options_.directory / "heldout.txt");
  expect_anew("a result is gone");
  fs::resize_file(options_.directory / "train-00000.bin", 100);
  expect_anew("a result is cut");
  write_file(options_.directory / "data.json", "{\"fingerprint\": 5").value();
  expect_anew("the manifest is damaged");
  write_file(options_.directory / "data.json", "[]").value();
  expect_anew("the manifest is something else");
}

TEST_F(PrepareTest, DoesNotDependOnThreads) {
  const auto files = [&](int threads) {
    options_.threads = threads;
    options_.directory = directory_ / ("data" + std::to_string(threads));
    prepare_data(options_).value();
    std::string all;
    for (const char* name :
         {"tokenizer.model", "train-00000.bin", "heldout-00000.bin", "heldout.txt", "data.json"}) {
      all += read_file(options_.directory / name).value();
    }
    return all;
  };
  EXPECT_TRUE(files(1) == files(3));
}

TEST_F(PrepareTest, TakesAGivenTokenizer) {
  prepare_data(options_).value();
  options_.tokenizer = directory_ / "given";
  fs::create_directory(*options_.tokenizer);
  const fs::path given = *options_.tokenizer / "tokenizer.model";
  fs::copy_file(options_.directory / "tokenizer.model", given);
  options_.vocab_size = 4096;  // of no account then
  options_.directory = directory_ / "other";
  const PreparedData data = prepare_data(options_).value();
  EXPECT_EQ(std::ssize(data.vocabulary.pieces), 600);
  EXPECT_EQ(read_file(data.tokenizer / "tokenizer.model").value(), read_file(given).value());
  EXPECT_TRUE(prepare_data(options_).value().reused);

  write_file(given, "no model").value();
  EXPECT_NE(error().find("tokenizer.model: not a sentencepiece model"), std::string::npos) << error();
  fs::remove(given);
  EXPECT_NE(error().find("given: expected tokenizer.json or tokenizer.model"), std::string::npos) << error();
}

TEST_F(PrepareTest, HoldsOutOneDocumentIfTheFractionGivesNone) {
  options_.heldout_fraction = 0;
  const PreparedData data = prepare_data(options_).value();
  EXPECT_EQ(data.heldout.documents(), 1);
  EXPECT_EQ(data.train.documents(), 99);
  const auto one = testing::read_document(data.heldout, 0);
  for (int64_t i = 0; i < data.train.documents(); ++i) EXPECT_NE(testing::read_document(data.train, i), one);
}

TEST_F(PrepareTest, KeepsTheSameTextOnOneSide) {
  options_.heldout_fraction = 0.3;
  for (int i = 0; i < 50; ++i)
    fs::copy_file(directory_ / "corpus/doc" += std::to_string(i),
                  directory_ / "corpus/copy" += std::to_string(i));
  const PreparedData data = prepare_data(options_).value();
  std::set<std::vector<int32_t>> train;
  for (int64_t i = 0; i < data.train.documents(); ++i) train.insert(testing::read_document(data.train, i));
  EXPECT_GT(data.heldout.documents(), 10);
  for (int64_t i = 0; i < data.heldout.documents(); ++i)
    EXPECT_FALSE(train.contains(testing::read_document(data.heldout, i)));
}

TEST_F(PrepareTest, RefusesAnEmptyCorpus) {
  clear_corpus();
  EXPECT_EQ(error(), "no files in " + (directory_ / "corpus").string());
  write("empty.txt", "");
  write("empty.jsonl", "\n\n");
  EXPECT_EQ(error(), "no text in " + (directory_ / "corpus").string());
  options_.paths = {directory_ / "nowhere"};
  EXPECT_EQ(error(), (directory_ / "nowhere").string() + ": no such file or directory");
}

TEST_F(PrepareTest, RefusesLessThanOneSequence) {
  options_.sequence_length = 1 << 30;
  EXPECT_NE(error().find("the training part has at most "), std::string::npos) << error();
  options_.sequence_length = 250'000;  // fewer tokens than this, though more bytes
  const std::string message = error();
  EXPECT_NE(message.find("too little text: the training part has "), std::string::npos) << message;
  EXPECT_NE(message.find("expected at least 250000, one sequence"), std::string::npos) << message;
  EXPECT_EQ(message.find("at most"), std::string::npos) << message;
  EXPECT_EQ(error(), message);  // a second time, from the files of the first
}

TEST_F(PrepareTest, RefusesASingleDocument) {
  clear_corpus();
  write("one", testing::mixed_text(1, 3000));
  EXPECT_NE(error().find("a single document"), std::string::npos) << error();
}

TEST_F(PrepareTest, RefusesAVocabularyTooLargeForTheText) {
  options_.vocab_size = 50'000;
  EXPECT_NE(error().find("--set vocab_size="), std::string::npos) << error();
  EXPECT_FALSE(fs::exists(options_.directory / "data.json"));
}

TEST_F(PrepareTest, RefusesABadFraction) {
  for (const double fraction : {-0.1, 1.0, std::nan("")}) {
    options_.heldout_fraction = fraction;
    EXPECT_NE(error().find("heldout_fraction"), std::string::npos);
  }
}

TEST_F(PrepareTest, NamesTheBadLine) {
  write("more.jsonl", "{\"text\": \"fine\"}\n{\"text\"}\n");
  EXPECT_NE(error().find("more.jsonl:2: "), std::string::npos) << error();
}

TEST_F(PrepareTest, NamesADirectoryThatCannotBeMade) {
  write_file(directory_ / "file", "x").value();
  options_.directory = directory_ / "file/data";
  EXPECT_NE(error().find("file/data: cannot be written"), std::string::npos) << error();
}

}  // namespace
}  // namespace ringflash
