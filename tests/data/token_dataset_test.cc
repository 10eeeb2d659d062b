#include "data/token_dataset.h"

#include <gtest/gtest.h>

#include "documents.h"

namespace ringflash {
namespace {

namespace fs = std::filesystem;
using testing::Documents;
using testing::TemporaryDirectory;

void expect_documents(const fs::path& directory, const Documents& documents) {
  const TokenDataset dataset = TokenDataset::open(directory, "d").value();
  ASSERT_EQ(dataset.documents(), std::ssize(documents));
  int64_t tokens = 0;
  for (size_t i = 0; i < documents.size(); ++i) {
    EXPECT_EQ(testing::read_document(dataset, static_cast<int64_t>(i)), documents[i]);
    tokens += std::ssize(documents[i]);
  }
  EXPECT_EQ(dataset.tokens(), tokens);
  EXPECT_EQ(dataset.text_bytes(), 3 * tokens);
}

size_t count_files(const fs::path& directory) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(directory), fs::directory_iterator()));
}

TEST(TokenDataset, KeepsDocuments) {
  for (const int64_t vocab_size : {2, 256, 65536, 65537, 1 << 20}) {
    const TemporaryDirectory directory;
    Documents documents = testing::random_documents(1, 200, 50, vocab_size);
    documents[7] = {static_cast<int32_t>(vocab_size - 1), 0};
    testing::write_documents(directory.path(), documents, vocab_size).value();
    expect_documents(directory.path(), documents);
    EXPECT_EQ(count_files(directory.path()), 1u);
  }
}

TEST(TokenDataset, SplitsIntoShards) {
  const TemporaryDirectory directory;
  const Documents documents = testing::random_documents(2, 100, 30, 500);  // some longer than a shard
  testing::write_documents(directory.path(), documents, 500, 20).value();
  EXPECT_GT(count_files(directory.path()), 50u);
  expect_documents(directory.path(), documents);
}

TEST(TokenDataset, ReplacesAnEarlierDatasetOfThatName) {
  const TemporaryDirectory directory;
  testing::write_documents(directory.path(), testing::random_documents(3, 100, 30, 500), 500, 100).value();
  const Documents documents = testing::random_documents(4, 20, 30, 500);
  testing::write_documents(directory.path(), documents, 500, 100).value();
  expect_documents(directory.path(), documents);
  testing::write_documents(directory.path(), {}, 500).value();
  expect_documents(directory.path(), {});
}

TEST(TokenDataset, ReadsPartsOfADocument) {
  const TemporaryDirectory directory;
  testing::write_documents(directory.path(), {{1, 2}, {3, 4, 5, 6, 7}, {8}}, 10).value();
  const TokenDataset dataset = TokenDataset::open(directory.path(), "d").value();
  std::vector<int32_t> ids(3);
  dataset.read(1, 1, ids);
  EXPECT_EQ(ids, (std::vector<int32_t>{4, 5, 6}));
  dataset.read(1, 5, {});
}

TEST(TokenDataset, NamesAMissingShard) {
  const TemporaryDirectory directory;
  const auto result = TokenDataset::open(directory.path(), "d");
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().message.find("d-00000.bin: cannot be opened"), std::string::npos);
}

TEST(TokenDataset, RefusesATruncatedShard) {
  const TemporaryDirectory directory;
  testing::write_documents(directory.path(), testing::random_documents(5, 5, 10, 500), 500).value();
  const std::string whole = read_file(directory / "d-00000.bin").value();
  for (size_t size = 0; size < whole.size(); ++size) {
    testing::overwrite(directory / "d-00000.bin", whole.substr(0, size));
    EXPECT_FALSE(TokenDataset::open(directory.path(), "d").ok())
        << size << " of " << whole.size() << " bytes";
  }
  testing::overwrite(directory / "d-00000.bin", whole + "x");
  EXPECT_FALSE(TokenDataset::open(directory.path(), "d").ok());
}

TEST(TokenDataset, RefusesOrSurvivesDamage) {
  const TemporaryDirectory directory;
  const int64_t vocab_size = 500;
  testing::write_documents(directory.path(), testing::random_documents(6, 8, 8, vocab_size), vocab_size)
      .value();
  const std::string whole = read_file(directory / "d-00000.bin").value();
  // Every bit of the header and of the first document's end, then some of all the rest.
  for (size_t bit = 0; bit < 8 * whole.size(); bit += bit < 8 * 48 ? 1 : 7) {
    std::string bad = whole;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    testing::overwrite(directory / "d-00000.bin", bad);
    const auto dataset = TokenDataset::open(directory.path(), "d");
    if (!dataset) continue;
    EXPECT_GE(bit, 8 * 16u) << "of magic, version or id size";
    for (int64_t document = 0; document < dataset->documents(); ++document) {
      for (const int32_t id : testing::read_document(*dataset, document)) ASSERT_LT(id, 1024);
    }
  }
}

TEST(TokenDataset, RefusesIdsOutsideTheVocabulary) {
  const TemporaryDirectory directory;
  testing::write_documents(directory.path(), {{1, 2, 3}}, 500).value();
  std::string bytes = read_file(directory / "d-00000.bin").value();
  bytes[bytes.size() - 1] = 2;  // the last id, 3, becomes 515
  testing::overwrite(directory / "d-00000.bin", bytes);
  EXPECT_NE(TokenDataset::open(directory.path(), "d")
                .error()
                .message.find("id 515 at token 2, expected ids below 500"),
            std::string::npos);
}

}  // namespace
}  // namespace ringflash
