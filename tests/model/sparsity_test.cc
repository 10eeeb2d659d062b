#include "model/sparsity.h"

#include <gtest/gtest.h>

#include "model/counts.h"
#include "model/presets.h"

namespace ringflash {
namespace {

TEST(Sparsity, PatternsAreNamed) {
  for (const SparsePattern pattern : {SparsePattern::kNone, SparsePattern::kFine, SparsePattern::kBlock}) {
    EXPECT_EQ(parse_sparse_pattern(to_string(pattern)).value(), pattern);
  }
  EXPECT_EQ(parse_sparse_pattern("coarse").error().message,
            "a sparse pattern must be none, fine or block, found 'coarse'");
}

TEST(Sparsity, TheLastExceptionThatFitsCounts) {
  const SparsityConfig config{SparsePattern::kFine, 12, 16, {"down_proj=block", "layers.0.=none"}};
  ASSERT_TRUE(validate(config));
  EXPECT_EQ(config.pattern_of("model.layers.1.self_attn.q_proj.weight"), SparsePattern::kFine);
  EXPECT_EQ(config.pattern_of("model.layers.1.mlp.down_proj.weight"), SparsePattern::kBlock);
  EXPECT_EQ(config.pattern_of("model.layers.0.mlp.down_proj.weight"), SparsePattern::kNone);
}

TEST(Sparsity, WhatDoesNotFitIsRefusedByKey) {
  const auto error_of = [](const SparsityConfig& config) { return validate(config).error().message; };
  EXPECT_EQ(error_of({.keep = 0}), "'sparsity_keep' must be between 1 and 64, found 0");
  EXPECT_EQ(error_of({.keep = 65}), "'sparsity_keep' must be between 1 and 64, found 65");
  EXPECT_EQ(error_of({.pattern = SparsePattern::kFine, .keep = 13, .weight_bits = 4}),
            "'sparsity_keep' must be 4, 8, 12, 16 or more where 'weight_bits' is not 16, found 13");
  EXPECT_TRUE(validate({.pattern = SparsePattern::kFine, .keep = 33, .weight_bits = 4}));
  EXPECT_EQ(error_of({.weight_bits = 5}), "'weight_bits' must be 4, 8 or 16, found 5");
  EXPECT_EQ(error_of({.exceptions = {"q_proj"}}),
            "'sparsity_exceptions': expected PART=PATTERN, as in layers.0.=none, found 'q_proj'");
  EXPECT_EQ(error_of({.exceptions = {"q_proj=dense"}}),
            "'sparsity_exceptions': a sparse pattern must be none, fine or block, found 'dense'");
}

TEST(Sparsity, ActiveWeightsAreCountedToTheEdges) {
  EXPECT_EQ(active_weights(SparsePattern::kNone, 12, 5, 100), 500);
  EXPECT_EQ(active_weights(SparsePattern::kFine, 12, 5, 64), 5 * 12);
  EXPECT_EQ(active_weights(SparsePattern::kFine, 12, 5, 100), 5 * 24);
  EXPECT_EQ(active_weights(SparsePattern::kFine, 12, 5, 64 + 7), 5 * 19);
  EXPECT_EQ(kept_tiles(12, 256), 24);  // of 128 tiles 12 / 64
  EXPECT_EQ(kept_tiles(1, 2), 1);
  EXPECT_EQ(active_weights(SparsePattern::kBlock, 12, 32, 256), 32 * 48);
  EXPECT_EQ(active_weights(SparsePattern::kBlock, 64, 3, 5), 15);
}

TEST(Sparsity, TheModelsArithmeticShrinksWithItsWeights) {
  ModelConfig config = preset_config("nano").value();
  const ParameterCounts dense = count_parameters(config);
  EXPECT_EQ(dense.active_linear, dense.linear);
  const double before = forward_macs(config, 256);
  config.sparsity.pattern = SparsePattern::kFine;
  const ParameterCounts sparse = count_parameters(config);
  EXPECT_EQ(sparse.linear, dense.linear);
  EXPECT_EQ(sparse.active_linear * 64, dense.linear * 12);
  EXPECT_EQ(before - forward_macs(config, 256),
            256.0 * static_cast<double>(dense.linear - sparse.active_linear));
}

}  // namespace
}  // namespace ringflash
