// A row that two or three processes share has the gradients that it has in one.
#include "train/sequence_slice.h"

#include <fstream>

#include "base/file.h"
#include "processes_support.h"
#include "temporary_directory.h"
#include "torch_support.h"
#include "train/modules.h"
#include "train/recompute_measure.h"

namespace ringflash {
namespace {

using torch::Tensor;

constexpr int64_t kTokens = 192;
const std::vector<int64_t> kBounds = {0, 22, 150, kTokens};

ModelConfig config_of(AttentionKind kind) {
  ModelConfig config = testing::small_config();
  config.attention.assign(config.attention.size(), kind);
  config.ring = {.window = 16, .stride = 8, .global_ratio = 0.25, .sink_tokens = 3};
  config.sliding_window = 20;
  return config;
}

/// The loss and all gradients, one after the other, of the slice of one of `size` processes, summed over all of them.
std::vector<double> gradients(const ModelConfig& config, Recompute level, int size) {
  at::set_num_threads(1);
  CausalLm model(config, 5);
  apply_levels(model, std::vector(model->layers().size(), level));
  Processes all = Processes::join(process_place().value()).value();
  Processes group = all.part(size).value();
  const SequenceSlice slice(group, kTokens);
  if (size > 1) model->share_rows(&slice);
  const Tensor ids = torch::arange(kTokens) * 7 % config.vocab_size;
  Tensor loss = model->loss_sum(slice.of(ids), slice.of(torch::roll(ids, -1)), kBounds, torch::kFloat32);
  loss.backward();
  std::vector<Tensor> parts = {loss.detach().reshape({1})};
  for (const auto& item : model->named_parameters()) parts.push_back(item.value().grad().flatten());
  Tensor sums = torch::cat(parts).contiguous();
  all.sum(sums);
  const auto* values = sums.data_ptr<float>();
  return {values, values + sums.numel()};
}

void expect_same_gradients(AttentionKind kind, Recompute level, int size) {
  const ModelConfig config = config_of(kind);
  const testing::TemporaryDirectory directory;
  const auto run = [&](int processes) {
    const int port = testing::free_port();
    std::vector<pid_t> children;
    for (int rank = 0; rank < processes; ++rank) {
      children.push_back(testing::start_process(rank, processes, port, [&] {
        const std::vector<double> found = gradients(config, level, processes);
        std::ofstream file(directory / (std::to_string(processes) + "-" + std::to_string(rank)), std::ios::binary);
        file.write(reinterpret_cast<const char*>(found.data()), static_cast<std::streamsize>(found.size() * sizeof(double)));
        return file.good();
      }));
    }
    for (const pid_t child : children) ASSERT_EQ(testing::wait_for(child), 0);
  };
  run(1);
  run(size);
  const auto read = [&](const std::string& name) {
    const std::string bytes = read_file(directory / name).value();
    std::vector<double> values(bytes.size() / sizeof(double));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  };
  const std::vector<double> whole = read("1-0"), sliced = read(std::to_string(size) + "-0");
  ASSERT_EQ(whole.size(), sliced.size());
  ASSERT_GT(whole.size(), 1000u);
  double norm = 0, off = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    norm += whole[i] * whole[i];
    off += (whole[i] - sliced[i]) * (whole[i] - sliced[i]);
  }
  // Sums in another order: errors of the sums' roots times u = 6e-8, through a few layers. A key or a gradient that went
  // astray changes the norm's first digits. Keys in bf16 add nothing: both round the same.
  EXPECT_LT(std::sqrt(off), 1e-4 * std::sqrt(norm));
}

TEST(SequenceSlice, RingLayersHaveTheGradientsOfOneProcess) {
  if (!has_processes()) GTEST_SKIP() << "no gloo";
  expect_same_gradients(AttentionKind::kRing, Recompute::kNothing, 2);
  expect_same_gradients(AttentionKind::kRing, Recompute::kLayer, 3);
}

TEST(SequenceSlice, OtherLayersToo) {
  if (!has_processes()) GTEST_SKIP() << "no gloo";
  expect_same_gradients(AttentionKind::kFull, Recompute::kNothing, 2);
  expect_same_gradients(AttentionKind::kSliding, Recompute::kNothing, 2);
}

}  // namespace
}  // namespace ringflash
