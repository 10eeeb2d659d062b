#include "train/masks.h"

#include "torch_support.h"

namespace ringflash {
namespace {

using torch::Tensor;

/// Two of odd width: there a tile may hold half as many weights as the others.
constexpr int64_t kShapes[][2] = {{16, 64}, {48, 256}, {5, 100}, {17, 63}, {33, 131}, {1, 2}};

Tensor weights(const int64_t (&shape)[2], uint64_t seed) {
  return testing::random_tensor({shape[0], shape[1]}, seed).to(torch::kFloat32);
}

int64_t count(const Tensor& mask, int64_t row_begin, int64_t row_end, int64_t begin, int64_t end) {
  return mask.slice(0, row_begin, row_end).slice(1, begin, end).sum().item<int64_t>();
}

TEST(Masks, FineKeepsTheLargestOfEachGroup) {
  for (const auto& shape : kShapes) {
    const Tensor weight = weights(shape, 1), mask = magnitude_mask(weight, {SparsePattern::kFine, 12});
    for (int64_t row = 0; row < shape[0]; ++row) {
      for (int64_t begin = 0; begin < shape[1]; begin += 64) {
        const int64_t end = std::min(begin + 64, shape[1]);
        ASSERT_EQ(count(mask, row, row + 1, begin, end), std::min<int64_t>(12, end - begin));
        const Tensor group = weight[row].slice(0, begin, end).abs(), kept = mask[row].slice(0, begin, end);
        if (kept.all().item<bool>()) continue;
        EXPECT_GE(group.masked_select(kept).min().item<float>(), group.masked_select(~kept).max().item<float>());
      }
    }
  }
}

TEST(Masks, BlocksKeepTheTilesOfLargestNorm) {
  for (const auto& shape : kShapes) {
    const Tensor weight = weights(shape, 2), mask = magnitude_mask(weight, {SparsePattern::kBlock, 12});
    for (int64_t row = 0; row < shape[0]; row += 16) {
      const int64_t row_end = std::min(row + 16, shape[0]);
      int64_t tiles = 0;
      double least_kept = 1e30, most_pruned = 0;
      for (int64_t begin = 0; begin < shape[1]; begin += 2) {
        const int64_t end = std::min(begin + 2, shape[1]), size = (row_end - row) * (end - begin);
        const int64_t kept = count(mask, row, row_end, begin, end);
        ASSERT_TRUE(kept == 0 || kept == size) << "a tile is there or not";
        const auto norm = weight.slice(0, row, row_end).slice(1, begin, end).square().sum().item<double>();
        tiles += kept == size ? 1 : 0;
        (kept == size ? least_kept : most_pruned) = kept == size ? std::min(least_kept, norm) : std::max(most_pruned, norm);
      }
      EXPECT_EQ(tiles, kept_tiles(12, shape[1]));
      EXPECT_GE(least_kept, most_pruned);
    }
  }
}

TEST(Masks, EqualWeightsStayInOrder) {
  const Tensor mask = magnitude_mask(torch::ones({2, 64}), {SparsePattern::kFine, 5});
  EXPECT_EQ(count(mask, 0, 2, 0, 5), 10);
  EXPECT_EQ(mask.sum().item<int64_t>(), 10);
}

TEST(Masks, KeepingAllKeepsAll) {
  for (const SparsePattern pattern : {SparsePattern::kFine, SparsePattern::kBlock}) {
    EXPECT_TRUE(magnitude_mask(weights({17, 63}, 3), {pattern, 64}).all().item<bool>());
  }
}

TEST(Masks, RandomOnesHaveTheSameSizeAndDependOnTheSeed) {
  for (const SparsePattern pattern : {SparsePattern::kFine, SparsePattern::kBlock}) {
    for (const auto& shape : kShapes) {
      const Tensor weight = weights(shape, 4);
      const MaskShape keep{pattern, 12};
      const Tensor a = random_mask(weight, keep, 1);
      if (pattern == SparsePattern::kBlock && shape[1] % 2 != 0) continue;
      EXPECT_EQ(a.sum().item<int64_t>(), magnitude_mask(weight, keep).sum().item<int64_t>());
      EXPECT_TRUE(torch::equal(a, random_mask(weight, keep, 1)));
      EXPECT_TRUE(weight.numel() < 1000 || !torch::equal(a, random_mask(weight, keep, 2)));
    }
  }
}

TEST(Masks, RiglSwapsTheSmallestForTheSteepest) {
  const Tensor weight = weights({4, 64}, 5), gradient = weights({4, 64}, 6);
  const MaskShape shape{SparsePattern::kFine, 12};
  const Tensor mask = random_mask(weight, shape, 7), moved = rigl_mask(weight, gradient, mask, shape, 0.25);
  const Tensor gone = mask & ~moved, came = moved & ~mask, never = ~mask & ~moved, stayed = mask & moved;
  for (int64_t row = 0; row < 4; ++row) {
    EXPECT_EQ(gone[row].sum().item<int64_t>(), 3);
    EXPECT_EQ(came[row].sum().item<int64_t>(), 3);
    const Tensor w = weight[row].abs(), g = gradient[row].abs();
    EXPECT_LE(w.masked_select(gone[row]).max().item<float>(), w.masked_select(stayed[row]).min().item<float>());
    EXPECT_GE(g.masked_select(came[row]).min().item<float>(), g.masked_select(never[row]).max().item<float>());
  }
}

TEST(Masks, RiglKeepsTheirNumberAtTheEdges) {
  for (const SparsePattern pattern : {SparsePattern::kFine, SparsePattern::kBlock}) {
    for (const auto& shape : kShapes) {
      const Tensor weight = weights(shape, 8), gradient = weights(shape, 9);
      const MaskShape keep{pattern, 12};
      const Tensor mask = random_mask(weight, keep, 1);
      for (const double fraction : {0.0, 0.3, 1.0}) {
        const Tensor moved = rigl_mask(weight, gradient, mask, keep, fraction);
        const bool even = pattern == SparsePattern::kFine || shape[1] % 2 == 0;
        EXPECT_TRUE(!even || moved.sum().item<int64_t>() == mask.sum().item<int64_t>());
        EXPECT_TRUE(fraction > 0 || torch::equal(moved, mask));
      }
    }
  }
}

}  // namespace
}  // namespace ringflash
