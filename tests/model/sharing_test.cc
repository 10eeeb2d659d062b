#include "model/sharing.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "model/counts.h"
#include "model/presets.h"
#include "model/tensors.h"

namespace ringflash {
namespace {

ModelConfig five_layers() {
  ModelConfig config = preset_config("tiny").value();
  config.num_hidden_layers = 5;
  config.attention.assign(5, AttentionKind::kRing);
  config.sharing = {.group_size = 2, .kinds = {"down_proj", "q_proj"}, .rank = 3};
  return config;
}

TEST(Sharing, TheFirstLayerOfAGroupOwnsItsWeights) {
  const SharingConfig sharing = five_layers().sharing;
  const int64_t owners[] = {0, 0, 2, 2, 4}, sharers[] = {2, 2, 2, 2, 1};
  for (int64_t layer = 0; layer < 5; ++layer) {
    EXPECT_EQ(sharing.owner(layer, "down_proj"), owners[layer]);
    EXPECT_EQ(sharing.sharers(layer, 5, "down_proj"), sharers[layer]);
    EXPECT_EQ(sharing.owner(layer, "up_proj"), layer);
    EXPECT_EQ(sharing.sharers(layer, 5, "up_proj"), 1);
  }
}

TEST(Sharing, WhatDoesNotFitIsRefusedByKey) {
  const auto error_of = [](const SharingConfig& config) { return validate(config, 64).error().message; };
  EXPECT_TRUE(validate(SharingConfig{.group_size = 4096, .kinds = {}, .rank = 0}, 64));
  EXPECT_EQ(error_of({.group_size = 0}), "'sharing_group_size' must be between 1 and 4096, found 0");
  EXPECT_EQ(error_of({.rank = 65}), "'sharing_rank' must be between 0 and 64, found 65");
  EXPECT_EQ(error_of({.kinds = {"q_proj", "router"}}),
            "'sharing_kinds' must name weight matrices of a layer (q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, "
            "down_proj), found 'router'");
  EXPECT_EQ(error_of({.kinds = {"q_proj", "q_proj"}}),
            "'sharing_kinds' must name each kind once, found 'q_proj' again");
}

TEST(Sharing, ASharedWeightIsListedOnceAndEachLayerHasItsPair) {
  const ModelConfig config = five_layers();
  std::vector<std::string> names;
  for (const TensorSpec& spec : tensor_inventory(config)) {
    if (spec.name.find("down_proj") == std::string::npos) continue;
    names.push_back(spec.name + " " + to_string(spec.role) + " " + shape_text(spec.shape) + " x" + std::to_string(spec.layers));
  }
  const std::string out = std::to_string(config.hidden_size), in = std::to_string(config.intermediate_size);
  std::vector<std::string> expected;
  for (int layer = 0; layer < 5; ++layer) {
    const std::string name = "model.layers." + std::to_string(layer) + ".mlp.down_proj.";
    if (layer % 2 == 0) {
      expected.push_back(name + "weight linear [" + out + ", " + in + "] x" + (layer == 4 ? "1" : "2"));
    }
    if (layer == 4) break;
    expected.push_back(name + "delta_a delta [" + out + ", 3] x1");
    expected.push_back(name + "delta_b delta [3, " + in + "] x1");
  }
  EXPECT_EQ(names, expected);
}

TEST(Sharing, WithoutARankThereAreNoPairs) {
  ModelConfig config = five_layers();
  config.sharing.rank = 0;
  const LinearTensors tensors = linear_tensors(config, 1, "q_proj");
  EXPECT_EQ(tensors.weight, "model.layers.0.self_attn.q_proj.weight");
  EXPECT_EQ(tensors.delta_a, "");
  EXPECT_EQ(count_parameters(config).delta, 0);
}

TEST(Sharing, SavesParametersNotArithmetic) {
  const ModelConfig config = five_layers();
  ModelConfig twin = config;
  twin.sharing = {};
  const int64_t matrices = config.query_size() * config.hidden_size + config.intermediate_size * config.hidden_size;
  const int64_t sizes = config.query_size() + config.intermediate_size + 2 * config.hidden_size;
  const ParameterCounts shared = count_parameters(config), whole = count_parameters(twin);
  EXPECT_EQ(whole.linear - shared.linear, 2 * matrices);
  EXPECT_EQ(shared.delta, 4 * 3 * sizes);
  EXPECT_EQ(shared.total(), whole.total() - 2 * matrices + shared.delta);
  EXPECT_EQ(forward_macs(config, 100) - forward_macs(twin, 100), 100.0 * static_cast<double>(shared.delta));
  EXPECT_EQ(dense_twin(config).sharing, SharingConfig());
}

}  // namespace
}  // namespace ringflash
