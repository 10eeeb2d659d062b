#include "base/page_pool.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <map>

#include "base/rng.h"

namespace ringflash {
namespace {

constexpr size_t kGranule = PagePool::kGranule;

TEST(PagePool, GivesIdlePagesToTheNext) {
  const auto pool = PagePool::reserve(64 * kGranule);
  ASSERT_NE(pool, nullptr);
  void* a = pool->take(3 * kGranule);
  void* b = pool->take(1);
  EXPECT_EQ(pool->used(), 4 * kGranule);
  pool->give_back(a);
  EXPECT_EQ(pool->used(), kGranule);
  EXPECT_EQ(pool->resident(), 4 * kGranule);
  EXPECT_EQ(pool->take(2 * kGranule), a);
  EXPECT_EQ(pool->resident(), 4 * kGranule);
  EXPECT_TRUE(pool->owns(b));
  EXPECT_FALSE(pool->owns(&pool));
}

TEST(PagePool, HoldsNoMoreThanWasUsedAtOnce) {
  const auto pool = PagePool::reserve(64 * kGranule);
  void* a = pool->take(4 * kGranule);
  void* b = pool->take(kGranule);
  pool->give_back(a);
  void* c = pool->take(5 * kGranule);  // the hole is too small
  EXPECT_EQ(pool->resident(), 6 * kGranule);
  pool->give_back(b);
  pool->give_back(c);
  EXPECT_EQ(pool->take(10 * kGranule), a);  // neighbours that were given back one by one
}

TEST(PagePool, EndsWhereItsAddressesDo) {
  const auto pool = PagePool::reserve(4 * kGranule);
  EXPECT_EQ(pool->take(5 * kGranule), nullptr);
  void* a = pool->take(3 * kGranule);
  EXPECT_EQ(pool->take(2 * kGranule), nullptr);
  pool->give_back(a);
  EXPECT_EQ(pool->take(4 * kGranule), a);
}

TEST(PagePoolDeathTest, KnowsItsBlocks) {
  const auto pool = PagePool::reserve(4 * kGranule);
  void* a = pool->take(kGranule);
  pool->give_back(a);
  EXPECT_DEATH(pool->give_back(a), "");
}

/// Blocks of many sizes in any order keep what was written to them, and few pages are held.
TEST(PagePool, KeepsBlocksApart) {
  const auto pool = PagePool::reserve(4096 * kGranule);
  Rng rng(5);
  std::map<unsigned char*, std::pair<size_t, unsigned char>> blocks;
  size_t most = 0;
  for (int i = 0; i < 3000; ++i) {
    if (blocks.size() < 12 || (blocks.size() < 40 && rng.below(2) == 0)) {
      const size_t bytes = 1 + rng.below(6 * kGranule);
      auto* block = static_cast<unsigned char*>(pool->take(bytes));
      ASSERT_NE(block, nullptr);
      const auto mark = static_cast<unsigned char>(i);
      block[0] = block[bytes - 1] = mark;
      blocks[block] = {bytes, mark};
    } else {
      auto chosen = blocks.begin();
      std::advance(chosen, static_cast<ptrdiff_t>(rng.below(blocks.size())));
      const auto [bytes, mark] = chosen->second;
      ASSERT_EQ(chosen->first[0], mark);
      ASSERT_EQ(chosen->first[bytes - 1], mark);
      pool->give_back(chosen->first);
      blocks.erase(chosen);
    }
    most = std::max(most, pool->used());
    ASSERT_LE(pool->resident(), most);
  }
}

int64_t resident_pages() {
  int64_t size = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> size >> resident;
  return resident;
}

TEST(PagePool, GivesTheSystemBackWhatDoesNotFit) {
  constexpr size_t kBytes = 32 * kGranule;
  const auto pool = PagePool::reserve(8 * kBytes);
  void* low = pool->take(kBytes);
  std::memset(low, 1, kBytes);
  void* wall = pool->take(1);
  pool->give_back(low);
  const int64_t before = resident_pages();
  void* high = pool->take(2 * kBytes);
  EXPECT_LE(resident_pages(), before - static_cast<int64_t>(kBytes / 2) / ::sysconf(_SC_PAGESIZE));
  pool->give_back(high);
  pool->give_back(wall);
}

}  // namespace
}  // namespace ringflash
