// A row that two or three processes share has the gradients that it has in one.
#include "train/sequence_slice.h"

#include <fstream>

#include "base/file.h"
#include "kernels/kernels.h"
#include "processes_support.h"
#include "temporary_directory.h"
#include "torch_support.h"
#include "train/causal_lm.h"
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

struct Case {
  AttentionKind kind;
  Recompute level;
  torch::ScalarType compute;
  int size;
};

/// Of the slice of one of `size` processes, summed over all of them: the loss and each parameter's gradient, one after the
/// other, each behind its number of values.
std::vector<double> gradients(const Case& c, int size) {
  at::set_num_threads(1);
  const ModelConfig config = config_of(c.kind);
  CausalLm model(config, 5);
  apply_levels(model, std::vector(model->layers().size(), c.level));
  Processes all = Processes::join(process_place().value()).value();
  Processes group = all.part(size).value();
  const SequenceSlice slice(group, kTokens);
  if (size > 1) model->share_rows(&slice);
  const Tensor ids = torch::arange(kTokens) * 7 % config.vocab_size;
  Tensor loss = model->loss_sum(slice.of(ids), slice.of(torch::roll(ids, -1)), kBounds, c.compute);
  loss.backward();
  std::vector<Tensor> parts = {loss.detach().reshape({1})};
  for (const auto& item : model->named_parameters()) parts.push_back(item.value().grad().flatten().contiguous());
  std::vector<double> values;
  for (Tensor& part : parts) {
    all.sum(part);
    values.push_back(static_cast<double>(part.numel()));
    values.insert(values.end(), part.data_ptr<float>(), part.data_ptr<float>() + part.numel());
  }
  return values;
}

/// Root mean square of the difference, relative to the values', of each part that gradients() gave.
void expect_close_parts(const std::vector<double>& whole, const std::vector<double>& sliced, double tolerance) {
  ASSERT_EQ(whole.size(), sliced.size());
  size_t parts = 0;
  for (size_t begin = 0; begin < whole.size(); ++parts) {
    ASSERT_EQ(whole[begin], sliced[begin]);
    const size_t end = begin + 1 + static_cast<size_t>(whole[begin]);
    double norm = 0, off = 0;
    for (size_t i = begin + 1; i < end; ++i) {
      norm += whole[i] * whole[i];
      off += (whole[i] - sliced[i]) * (whole[i] - sliced[i]);
    }
    EXPECT_LE(std::sqrt(off), tolerance * std::sqrt(norm)) << "part " << parts;
    begin = end;
  }
  EXPECT_GT(parts, 10u);
}

void expect_same_gradients(const Case& c, double tolerance) {
  const testing::TemporaryDirectory directory;
  const auto run = [&](int processes) {
    const int port = testing::free_port();
    std::vector<pid_t> children;
    for (int rank = 0; rank < processes; ++rank) {
      children.push_back(testing::start_process(rank, processes, port, [&] {
        const std::vector<double> found = gradients(c, processes);
        std::ofstream file(directory / (std::to_string(processes) + "-" + std::to_string(rank)), std::ios::binary);
        file.write(reinterpret_cast<const char*>(found.data()), static_cast<std::streamsize>(found.size() * sizeof(double)));
        return file.good();
      }));
    }
    for (const pid_t child : children) ASSERT_EQ(testing::wait_for(child), 0);
  };
  run(1);
  run(c.size);
  const auto read = [&](const std::string& name) {
    const std::string bytes = read_file(directory / name).value();
    std::vector<double> values(bytes.size() / sizeof(double));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  };
  const std::vector<double> whole = read("1-0"), sliced = read(std::to_string(c.size) + "-0");
  expect_close_parts(whole, sliced, tolerance);
}

// A key or a gradient that goes astray changes the first digits. Otherwise sums are in another order: in fp32 off by a few
// u = 6e-8 for each of some hundred terms. In bf16 what flows is rounded some ten times a layer, by u = 2^-9 / sqrt(3) on
// average, and the runs differ in all of that: sqrt(2 * 20) of them are 2^-7.2, and four times that is allowed, for some
// gradients are small differences, and libtorch sums in bf16 where processors do not multiply it.
// Where attention multiplies bf16, fp32 runs round its inputs, too: numbers that differ by 4 u of fp32 to different neighbours, 2^-8 apart,
// with a probability of 2^-14, which in the mean square is 2^-15 of them. Six such inputs in some layers make that four times as much, sums over
// 16 keys and more a fourth of it, and twice that is allowed.
const double kFp32 = kernels::table().key_type == kernels::KeyType::kBf16 ? 0x1p-14 : 1e-5;
constexpr double kBf16 = 0x1p-5;

TEST(SequenceSlice, RingLayersHaveTheGradientsOfOneProcess) {
  if (!has_processes()) GTEST_SKIP() << "no gloo";
  expect_same_gradients({AttentionKind::kRing, Recompute::kNothing, torch::kFloat32, 2}, kFp32);
  expect_same_gradients({AttentionKind::kRing, Recompute::kLayer, torch::kFloat32, 3}, kFp32);
  expect_same_gradients({AttentionKind::kRing, Recompute::kNothing, torch::kBFloat16, 2}, kBf16);
}

TEST(SequenceSlice, OtherLayersToo) {
  if (!has_processes()) GTEST_SKIP() << "no gloo";
  expect_same_gradients({AttentionKind::kFull, Recompute::kNothing, torch::kFloat32, 2}, kFp32);
  expect_same_gradients({AttentionKind::kSliding, Recompute::kNothing, torch::kFloat32, 2}, kFp32);
}

}  // namespace
}  // namespace ringflash
