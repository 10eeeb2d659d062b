#include "data/packed_rows.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "base/ceil_div.h"
#include "documents.h"

namespace ringflash {
namespace {

using testing::Documents;

constexpr int64_t kLength = 16;
constexpr int32_t kIgnored = PackedBatch::kIgnored;

/// Documents whose ids are all different (first one `document * 100`), so that a token tells where it is
/// from.
Documents numbered_documents() {
  Documents documents(40);
  Rng rng(9);
  for (size_t i = 0; i < documents.size(); ++i) {
    documents[i].resize(1 + rng.below(60));
    std::iota(documents[i].begin(), documents[i].end(), static_cast<int32_t>(100 * i));
  }
  return documents;
}

class PackedRowsTest : public ::testing::Test {
 protected:
  void SetUp() override { testing::write_documents(directory_.path(), documents_, kVocab, 200).value(); }

  static constexpr int64_t kVocab = 4000;
  testing::TemporaryDirectory directory_;
  const Documents documents_ = numbered_documents();
  TokenDataset dataset() const { return TokenDataset::open(directory_.path(), "d").value(); }

  bool ends_document(int32_t id) const { return documents_[static_cast<size_t>(id / 100)].back() == id; }

  /// Checks targets and bounds of a batch against the documents, up to `tokens` of the batch (the rest is
  /// padding).
  void expect_consistent(const PackedBatch& batch, int64_t tokens) const {
    const auto at = [](int64_t i) { return static_cast<size_t>(i); };
    std::vector<int64_t> bounds = {0};
    for (int64_t i = 0; i < tokens; ++i) {
      const int32_t id = batch.inputs[at(i)];
      EXPECT_EQ(batch.targets[at(i)], ends_document(id) ? kIgnored : id + 1) << "at " << i;
      const bool edge = (i + 1) % kLength == 0;
      if (edge || ends_document(id)) bounds.push_back(i + 1);
      if (edge || ends_document(id) || i + 1 == tokens) continue;
      EXPECT_EQ(batch.inputs[at(i + 1)], id + 1);
    }
    if (tokens < std::ssize(batch.inputs)) bounds.push_back(std::ssize(batch.inputs));
    EXPECT_EQ(batch.bounds, bounds);
  }
};

TEST_F(PackedRowsTest, KeepsTheDatasetsOrderUnshuffled) {
  const TokenDataset data = dataset();
  const PackedRows rows(data, kLength, 1, false);
  const int64_t count = rows.rows_per_epoch();
  EXPECT_EQ(count, ceil_div(data.tokens(), kLength));
  const PackedBatch batch = rows.batch(0, count);
  std::vector<int32_t> expected;
  for (const auto& document : documents_) expected.insert(expected.end(), document.begin(), document.end());
  expected.resize(batch.inputs.size(), expected.back());
  EXPECT_EQ(batch.inputs, expected);
  ASSERT_NE(data.tokens() % kLength, 0) << "no padding to test";
  expect_consistent(batch, data.tokens());
  for (size_t i = static_cast<size_t>(data.tokens()); i < batch.targets.size(); ++i)
    EXPECT_EQ(batch.targets[i], kIgnored);
  EXPECT_EQ(rows.batch(count, 1).inputs, rows.batch(0, 1).inputs);
}

TEST_F(PackedRowsTest, HasEveryTokenOncePerEpoch) {
  const TokenDataset data = dataset();
  const PackedRows rows(data, kLength, 1);
  const PackedBatch batch = rows.batch(0, 3 * rows.rows_per_epoch());
  expect_consistent(batch, std::ssize(batch.inputs));
  const std::set<int32_t> all = [&] {
    std::set<int32_t> ids;
    for (const auto& document : documents_) ids.insert(document.begin(), document.end());
    return ids;
  }();
  std::set<std::vector<int32_t>> orders;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    const auto begin = batch.inputs.begin() + epoch * data.tokens();
    const std::vector<int32_t> ids(begin, begin + data.tokens());
    EXPECT_EQ(std::set<int32_t>(ids.begin(), ids.end()), all);
    orders.insert(ids);
  }
  EXPECT_EQ(orders.size(), 3u) << "every epoch has an order of its own";
}

TEST_F(PackedRowsTest, DependsOnTheRowNumberAlone) {
  const TokenDataset data = dataset();
  const int64_t count = 4 * PackedRows(data, kLength, 1).rows_per_epoch();
  const PackedBatch all = PackedRows(data, kLength, 1).batch(0, count);
  const PackedRows rows(data, kLength, 1);
  Rng rng(3);
  for (int i = 0; i < 200; ++i) {
    const auto row = static_cast<int64_t>(rng.below(static_cast<uint64_t>(count)));
    const PackedBatch one = rows.batch(row, 1);
    const auto begin = row * kLength, end = begin + kLength;
    EXPECT_TRUE(std::equal(one.inputs.begin(), one.inputs.end(), all.inputs.begin() + begin,
                           all.inputs.begin() + end));
    EXPECT_TRUE(std::equal(one.targets.begin(), one.targets.end(), all.targets.begin() + begin,
                           all.targets.begin() + end));
  }
}

TEST_F(PackedRowsTest, GivesEachProcessItsOwnRows) {
  const TokenDataset data = dataset();
  const PackedRows rows(data, kLength, 1);
  const PackedBatch all = rows.batch(10, 12);
  for (int64_t rank = 0; rank < 3; ++rank) {
    const PackedBatch part = rows.batch(10 + rank, 4, 3);
    for (int64_t i = 0; i < 4; ++i) {
      const auto expected = all.inputs.begin() + (rank + 3 * i) * kLength;
      EXPECT_TRUE(std::equal(expected, expected + kLength, part.inputs.begin() + i * kLength));
    }
    expect_consistent(part, std::ssize(part.inputs));
  }
}

TEST_F(PackedRowsTest, PiecesOfALongDocumentDoNotFollowEachOther) {
  Documents documents(2, std::vector<int32_t>(100 * kLength));
  for (size_t i = 0; i < documents.size(); ++i) std::iota(documents[i].begin(), documents[i].end(), static_cast<int32_t>(1600 * i));
  testing::TemporaryDirectory directory;
  testing::write_documents(directory.path(), documents, kVocab, 4000).value();
  const TokenDataset data = TokenDataset::open(directory.path(), "d").value();
  const PackedBatch batch = PackedRows(data, kLength, 1).batch(0, 200);
  int in_turn = 0, changes = 0;
  for (size_t row = 1; row < 200; ++row) {
    const int32_t before = batch.inputs[(row - 1) * kLength], now = batch.inputs[row * kLength];
    in_turn += now == before + kLength;
    changes += (now < 1600) != (before < 1600);
  }
  EXPECT_LT(in_turn, 10) << "one would be expected";
  EXPECT_GT(changes, 70) << "a hundred would be expected, with a deviation of seven";
}

TEST_F(PackedRowsTest, ShufflesBySeed) {
  const TokenDataset data = dataset();
  EXPECT_EQ(PackedRows(data, kLength, 5).batch(0, 10).inputs,
            PackedRows(data, kLength, 5).batch(0, 10).inputs);
  EXPECT_NE(PackedRows(data, kLength, 5).batch(0, 10).inputs,
            PackedRows(data, kLength, 6).batch(0, 10).inputs);
}

TEST_F(PackedRowsTest, TakesRowsLongerThanTheDataset) {
  const TokenDataset data = dataset();
  const int64_t length = 2 * data.tokens() + 5;
  const PackedRows padded(data, length, 1, false);
  EXPECT_EQ(padded.rows_per_epoch(), 1);
  const PackedBatch batch = padded.batch(0, 1);
  const auto trained =
      std::count_if(batch.targets.begin(), batch.targets.end(), [](int32_t t) { return t != kIgnored; });
  EXPECT_EQ(trained, data.tokens() - data.documents());
  EXPECT_EQ(batch.bounds.back(), length);
  EXPECT_EQ(PackedRows(data, length, 1).batch(0, 2).bounds.back(), 2 * length);
}

}  // namespace
}  // namespace ringflash
