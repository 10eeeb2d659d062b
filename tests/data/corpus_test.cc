#include "data/corpus.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryDirectory;

/// The documents of one file with that content.
Result<std::vector<std::string>> documents_of(const std::string& name, const std::string& content) {
  const TemporaryDirectory directory;
  write_file(directory / name, content).value();
  RF_TRY(const auto files, list_corpus({directory / name}));
  std::vector<std::string> documents;
  RF_TRY_VOID(for_each_document(files, [&](std::string_view document) -> Status {
    documents.emplace_back(document);
    return {};
  }));
  return documents;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string all;
  for (const std::string& part : parts) all += part;
  return all;
}

TEST(ListCorpus, FindsEveryFileOnceInOrder) {
  const TemporaryDirectory directory;
  fs::create_directories(directory / "b/.git");
  fs::create_directories(directory / "a");
  for (const char* name : {"b/2.txt", "b/.git/config", "b/.hidden", "a/3.txt", "c.jsonl", "b/1.txt"}) {
    write_file(directory / name, name).value();
  }
  fs::create_symlink(directory / "nowhere", directory / "a/dangling");
  const auto files =
      list_corpus({directory / "c.jsonl", directory.path(), directory / "a/../b/1.txt"}).value();
  std::vector<std::string> names;
  for (const CorpusFile& file : files) names.push_back(fs::relative(file.path, directory.path()).string());
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"a/3.txt", "b/1.txt", "b/2.txt", "c.jsonl"}));
  EXPECT_TRUE(std::is_sorted(files.begin(), files.end(), [](auto& x, auto& y) { return x.path < y.path; }));
  EXPECT_EQ(files[0].bytes, 7u);
  EXPECT_GT(files[0].modified, 1'600'000'000'000'000'000);
}

TEST(ListCorpus, NamesWhatIsMissing) {
  const TemporaryDirectory directory;
  EXPECT_EQ(list_corpus({directory / "x"}).error().message,
            (directory / "x").string() + ": no such file or directory");
  EXPECT_EQ(list_corpus({directory.path()}).error().message, "no files in " + directory.path().string());
  EXPECT_FALSE(list_corpus({}).ok());
}

TEST(Documents, CutsPlainFilesAtLineEnds) {
  std::string text;
  for (int i = 0; text.size() < 200'000; ++i) text += "line " + std::to_string(i) + "\n";
  const auto documents = documents_of("a.txt", text).value();
  EXPECT_EQ(documents.size(), 4u);
  EXPECT_EQ(joined(documents), text);
  for (const std::string& document : documents) {
    EXPECT_LE(document.size(), kMaxDocumentBytes);
    EXPECT_TRUE(document.ends_with('\n'));
  }
}

TEST(Documents, CutsLongLinesBetweenCharacters) {
  std::string text = "a";  // so that the limit falls within a character
  while (text.size() < 150'000) text += "深";
  const auto documents = documents_of("a.txt", text).value();
  EXPECT_EQ(documents.size(), 3u);
  EXPECT_EQ(joined(documents), text);
  EXPECT_EQ(documents[0].size(), 1 + (kMaxDocumentBytes - 1) / 3 * 3);
  EXPECT_EQ(documents[1].size(), kMaxDocumentBytes / 3 * 3);
}

TEST(Documents, TakesAnyBytes) {
  const std::string text(100'000, '\x80');
  const auto documents = documents_of("a.bin", text).value();
  EXPECT_EQ(joined(documents), text);
  EXPECT_EQ(documents[0].size(), kMaxDocumentBytes);
  EXPECT_TRUE(documents_of("a.txt", "").value().empty());
}

TEST(Documents, TakesOnePerJsonLine) {
  const auto documents = documents_of("a.jsonl",
                                      "{\"text\": \"one\\ntwo \\u6df1\", \"id\": 1}\r\n"
                                      "\n"
                                      "{\"text\": \"\"}\n"
                                      "{\"meta\": {\"text\": 1}, \"text\": \"three\"}");
  EXPECT_EQ(documents.value(), (std::vector<std::string>{"one\ntwo 深", "three"}));
}

TEST(Documents, NamesTheLineOfBadJson) {
  for (const std::string bad :
       {"{\"text\": \"x\"", "[1]", "{}", "{\"text\": 5}", "5", "{\"text\": \"\xFF\"}"}) {
    const auto documents = documents_of("a.jsonl", "{\"text\": \"fine\"}\n\n" + bad + "\n");
    ASSERT_FALSE(documents.ok()) << bad;
    EXPECT_NE(documents.error().message.find("a.jsonl:3: expected a JSON object"), std::string::npos)
        << documents.error().message;
  }
}

TEST(Documents, TakesConversations) {
  const TemporaryDirectory directory;
  write_file(directory / "a.jsonl",
             "{\"messages\": [{\"role\": \"assistant\", \"content\": \"x\"}]}\n{\"text\": \"y\"}\n{\"messages\": []}\n")
      .value();
  std::vector<std::pair<std::string, bool>> documents;
  const auto status = for_each_document(list_corpus({directory.path()}).value(), [&](const Document& document) -> Status {
    documents.emplace_back(document.text, document.chat);
    return {};
  });
  EXPECT_EQ(documents, (std::vector<std::pair<std::string, bool>>{
                           {R"([{"content":"x","role":"assistant"}])", true}, {"y", false}}));
  EXPECT_EQ(status.error().message,
            (directory / "a.jsonl").string() + ":3: expected a list of messages under \"messages\"");
}

TEST(Documents, StopsAtTheVisitorsError) {
  const TemporaryDirectory directory;
  write_file(directory / "a", "a").value();
  write_file(directory / "b", "b").value();
  int visits = 0;
  const auto status =
      for_each_document(list_corpus({directory.path()}).value(), [&](std::string_view) -> Status {
        ++visits;
        return Error{"enough"};
      });
  EXPECT_EQ(status.error().message, "enough");
  EXPECT_EQ(visits, 1);
}

TEST(HeldOut, PicksAboutTheFractionByContent) {
  int held_out = 0, more = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::string document = "document number " + std::to_string(i);
    held_out += is_held_out(document, 0.02);
    more += is_held_out(document, 0.1);
    EXPECT_FALSE(is_held_out(document, 0));
    EXPECT_LE(is_held_out(document, 0.02), is_held_out(document, 0.1));
  }
  // Binomial: 400 and 2000 expected, standard deviations 20 and 42; five of them.
  EXPECT_NEAR(held_out, 400, 100);
  EXPECT_NEAR(more, 2000, 212);
}

}  // namespace
}  // namespace ringflash
