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

/// Root mean squares of the differences of each part that gradients() gave.
std::vector<double> distances(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> parts;
  if (a.size() != b.size()) return parts;
  for (size_t begin = 0; begin < a.size();) {
    const size_t end = begin + 1 + static_cast<size_t>(a[begin]);
    double squares = 0;
    for (size_t i = begin + 1; i < end; ++i) squares += (a[i] - b[i]) * (a[i] - b[i]);
    parts.push_back(std::sqrt(squares / a[begin]));
    begin = end;
  }
  return parts;
}

/// What gradients() finds in the first of so many processes.
std::vector<double> gradients_of(const Case& c, int processes) {
  const testing::TemporaryDirectory directory;
  const int port = testing::free_port();
  std::vector<pid_t> children;
  for (int rank = 0; rank < processes; ++rank) {
    children.push_back(testing::start_process(rank, processes, port, [&] {
      const std::vector<double> found = gradients(c, processes);
      std::ofstream file(directory / std::to_string(rank), std::ios::binary);
      file.write(reinterpret_cast<const char*>(found.data()), static_cast<std::streamsize>(found.size() * sizeof(double)));
      return file.good();
    }));
  }
  for (const pid_t child : children) EXPECT_EQ(testing::wait_for(child), 0);
  const std::string bytes = read_file(directory / "0").value();
  std::vector<double> values(bytes.size() / sizeof(double));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

// A key or a gradient that goes astray changes the first digits. Otherwise sums are in another order: off by a few u = 6e-8 for
// each of some hundred terms. Where attention multiplies bf16, a row that meets its largest logit earlier or later rounds its
// weights otherwise, by 2^-9 / sqrt(3) of each on average; a query sees 16 keys and more, so that its sum is off by a fourth of that.
double fp32_tolerance() {
  return kernels::table().key_type == kernels::KeyType::kBf16 ? 0x1p-9 / 1.732 / 4 : 1e-5;
}

void expect_same_gradients(const Case& c) {
  const std::vector<double> whole = gradients_of(c, 1), sliced = gradients_of(c, c.size);
  const std::vector<double> off = distances(whole, sliced), size = distances(whole, std::vector<double>(whole.size()));
  ASSERT_GT(off.size(), 10u);
  for (size_t part = 0; part < off.size(); ++part) EXPECT_LE(off[part], fp32_tolerance() * size[part]) << "part " << part;
}

// In bf16 either run rounds what flows some ten times a layer, at other places. Both are off what fp32 gives, as far as their
// roundings add up to in each gradient, which for small differences of large numbers is a lot.
void expect_as_near_to_fp32(const Case& c) {
  Case fp32 = c;
  fp32.compute = torch::kFloat32;
  const std::vector<double> exact = gradients_of(fp32, 1), whole = gradients_of(c, 1), sliced = gradients_of(c, c.size);
  const std::vector<double> off = distances(exact, sliced), allowed = distances(exact, whole);
  const std::vector<double> size = distances(exact, std::vector<double>(exact.size()));
  ASSERT_GT(off.size(), 10u);
  for (size_t part = 0; part < off.size(); ++part) {
    // The loss is a single number, off by one rounding of the logits it is the mean of.
    EXPECT_LE(off[part], 2 * allowed[part] + 0x1p-9 * size[part]) << "part " << part;
  }
}

TEST(SequenceSlice, RingLayersHaveTheGradientsOfOneProcess) {
  if (!has_processes()) GTEST_SKIP() << "no gloo";
  expect_same_gradients({AttentionKind::kRing, Recompute::kNothing, torch::kFloat32, 2});
  expect_same_gradients({AttentionKind::kRing, Recompute::kLayer, torch::kFloat32, 3});
  expect_as_near_to_fp32({AttentionKind::kRing, Recompute::kNothing, torch::kBFloat16, 2});
}

TEST(SequenceSlice, OtherLayersToo) {
  if (!has_processes()) GTEST_SKIP() << "no gloo";
  expect_same_gradients({AttentionKind::kFull, Recompute::kNothing, torch::kFloat32, 2});
  expect_same_gradients({AttentionKind::kSliding, Recompute::kNothing, torch::kFloat32, 2});
}

}  // namespace
}  // namespace ringflash
