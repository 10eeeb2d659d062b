// Trainer and runtime compute the same model: a checkpoint trained for a moment, its bf16 export, 3000 tokens.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <stdexcept>

#include "base/float16.h"
#include "base/thread_pool.h"
#include "expect_close.h"
#include "format/export_gguf.h"
#include "format/gguf.h"
#include "kernels/kernels.h"
#include "runtime/session.h"
#include "temporary_directory.h"
#include "train/checkpointing.h"
#include "train/causal_lm.h"
#include "train/run_support.h"
#include "train/torch_headers.h"

namespace ringflash {
namespace {

namespace fs = std::filesystem;
using Logits = std::vector<float>;

constexpr int64_t kTokens = 3000;

// Rounding to bf16 errs by half of a unit in the last place at most, 2^-8 of 1. That makes a deviation of
// 2^-8 / sqrt(3) of 1, and of a number with mantissa m (1 <= m < 2) an m-th of that; 1 / m^2 is 0.54 in the mean.
const double kBf16Deviation = 0x1p-8 * std::sqrt(0.54 / 3);

/// The same model with its bf16 matrices stored in fp32.
void widen_gguf(const fs::path& from, const fs::path& to) {
  const GgufFile file = GgufFile::open(from).value();
  GgufWriter writer;
  for (const auto& [key, value] : file.metadata()) writer.set(key, value);
  for (const GgufTensor& tensor : file.tensors()) {
    std::vector<std::byte> bytes(tensor.data.begin(), tensor.data.end());
    if (tensor.type == GgufType::kBF16) {
      bytes.resize(2 * tensor.data.size());
      const auto* narrow = reinterpret_cast<const bf16*>(tensor.data.data());
      std::transform(narrow, narrow + tensor.data.size() / 2, reinterpret_cast<float*>(bytes.data()),
                     [](bf16 x) { return to_float(x); });
    }
    writer.add_tensor(tensor.name, GgufType::kF32, tensor.shape, [bytes] { return bytes; });
  }
  RF_CHECK(writer.write(to).ok());
}

/// Everything the tests compare, made once.
struct Fixture {
  Fixture() {
    testing::write_corpus(directory / "data", 16, 16000);
    const TrainRequest request = testing::small_run(directory / "data", directory / "run", 40);
    const Result<TrainReport> report = run_training(request);
    if (!report) throw std::runtime_error(report.error().message);
    RF_CHECK(report->last_bits_per_byte < 0.8 * report->first_bits_per_byte);
    checkpoint = report->checkpoint;
    const Result<Checkpoint> opened = open_checkpoint(checkpoint);
    RF_CHECK(opened.ok());
    RF_CHECK(export_gguf(*opened, directory / "model.gguf", ExportFormat::kBF16, [](int64_t, int64_t) {}).ok());
    widen_gguf(directory / "model.gguf", directory / "wide.gguf");
    // Rounded weights would choose other tokens for a page where scores are next to equal: all of them, then.
    const auto all_tokens = [](ModelConfig& config) { config.ring.global_ratio = 1; };
    exported.emplace(Model::load(directory / "model.gguf", all_tokens).value());
    exported_wide.emplace(Model::load(directory / "wide.gguf", all_tokens).value());
    widened.emplace(Model::load(directory / "wide.gguf").value());
    top_pages.emplace(Model::load(directory / "wide.gguf", [](ModelConfig& config) {
                        config.ring.select = GlobalSelect::kTopPages;
                        config.ring.top_pages_factor = 1;
                        config.ring.top_pages_run = 8;
                      }).value());
    ids = {1};
    for (const int32_t id : exported->tokenizer().encode(testing::prose(40000, 999))) ids.push_back(id);
    RF_CHECK(static_cast<int64_t>(ids.size()) >= kTokens);
    ids.resize(kTokens);
  }

  testing::TemporaryDirectory directory;
  fs::path checkpoint;
  std::optional<Model> exported, exported_wide;  ///< every token in its page
  std::optional<Model> widened;    ///< with the same weights in fp32, so that no table rounds a product's input
  std::optional<Model> top_pages;  ///< that one, but choosing 7 of 91 pages at the end
  std::vector<int32_t> ids;
};

Fixture& fixture() {
  static Fixture made;
  return made;
}

/// The trainer's logits in fp32, from the weights as they are or as a bf16 export holds them.
Logits trainer_logits(const ModelConfig& config, bool round_weights) {
  Fixture& f = fixture();
  CausalLm model(config, 0);
  RF_CHECK(load_weights(f.checkpoint, model).ok());
  torch::NoGradGuard no_grad;
  for (auto& item : model->named_parameters()) {
    const bool exact = item.value().dim() < 2 || item.key().find("router") != std::string::npos;
    if (round_weights && !exact) item.value().copy_(item.value().to(torch::kBFloat16));
  }
  const torch::Tensor ids = torch::tensor(f.ids, torch::kInt32).to(torch::kInt64);
  const torch::Tensor logits = model->logits(ids, {0, kTokens}, torch::kFloat32).contiguous();
  return Logits(logits.data_ptr<float>(), logits.data_ptr<float>() + logits.numel());
}

/// The runtime's, with the tokens appended `piece` at a time.
Logits runtime_logits(const Model& model, int64_t piece) {
  Fixture& f = fixture();
  ThreadPool pool(2);
  Session session(model, pool, kTokens);
  const int64_t vocab = model.config().vocab_size;
  Logits all(kTokens * vocab, testing::kPoison);
  for (int64_t first = 0; first < kTokens; first += piece) {
    const auto part = std::span(f.ids).subspan(first, std::min(piece, kTokens - first));
    const Status status = session.append(part, LogitsFor::kAll, [&](int64_t at, int64_t count, const float* logits) {
      std::copy_n(logits, count * vocab, all.begin() + at * vocab);
    });
    RF_CHECK(status.ok());
  }
  return all;
}

double root_mean_square(const Logits& x) {
  double sum = 0;
  for (const float value : x) sum += static_cast<double>(value) * value;
  return std::sqrt(sum / static_cast<double>(x.size()));
}

double argmax_agreement(const Logits& a, const Logits& b) {
  const int64_t vocab = fixture().exported->config().vocab_size;
  int64_t equal = 0;
  for (int64_t t = 0; t < kTokens; ++t) {
    const auto best = [&](const Logits& x) {
      return std::max_element(x.begin() + t * vocab, x.begin() + (t + 1) * vocab) - (x.begin() + t * vocab);
    };
    equal += best(a) == best(b);
  }
  return static_cast<double>(equal) / static_cast<double>(kTokens);
}

bool attends_in_bf16() { return kernels::table().key_type == kernels::KeyType::kBf16; }

double layers() { return static_cast<double>(fixture().exported->config().num_hidden_layers); }

/// The logits differ by `roundings` independent roundings to bf16 in a row. Of 1.2 million the largest is within 6
/// deviations. Where the best two logits of a token lie within the noise either may win; their gap is about as wide as
/// the logits' size, so that the noise swaps about as large a share, and twice that is allowed.
void expect_roundings(const Logits& got, const Logits& want, double roundings) {
  const double size = root_mean_square(want), deviation = kBf16Deviation * std::sqrt(roundings);
  Logits difference(got.size());
  std::transform(got.begin(), got.end(), want.begin(), difference.begin(), std::minus<>());
  EXPECT_LT(root_mean_square(difference), deviation * size);
  testing::expect_close(got, want, {.absolute = 6 * deviation * size});
  EXPECT_GE(argmax_agreement(got, want), 1 - 2 * deviation);
}

/// The runtime's logits, whole and in pieces, against the trainer's with the weights rounded alike. Both sides compute
/// the same function with the same attention kernels. In fp32 they differ in the order of their sums alone:
/// docs/numerics.md derives 2e-4 of the logits' size for a model of this depth. In bf16 attention rounds the same q, k
/// and v, but a weight relative to the largest logit so far, and the two sides hand the kernel the keys in different
/// orders: that leaves one rounding on each side in each layer.
void expect_parity(const Model& model) {
  const Logits want = trainer_logits(model.config(), /*round_weights=*/true);
  const double size = root_mean_square(want);
  for (const int64_t piece : {kTokens, int64_t{1}, int64_t{7}, int64_t{64}, int64_t{1000}}) {
    SCOPED_TRACE("pieces of " + std::to_string(piece));
    const Logits got = runtime_logits(model, piece);
    if (attends_in_bf16()) {
      expect_roundings(got, want, 2 * layers());
    } else {
      testing::expect_close(got, want, {.absolute = 2e-4 * size, .relative = 2e-4});
      EXPECT_GE(argmax_agreement(got, want), 0.999);
    }
  }
}

TEST(TrainerRuntimeParity, SameWeightsGiveTheSameLogits) { expect_parity(*fixture().widened); }

// A choice between pages that tie within the noise may go either way in bf16; the few rows that it moves stay within
// the bound.
TEST(TrainerRuntimeParity, BothChooseTheSamePages) { expect_parity(*fixture().top_pages); }

// Against the checkpoint's own fp32 weights the export differs by the rounding of its weights: each of the matrix
// products in a row (4 per layer on the residual path's way, and the head) adds an independent error. A table in bf16
// rounds the products' inputs, too, and as q, k and v differ by then, each side rounds these and the weights of
// attention by itself.
TEST(TrainerRuntimeParity, ExportDiffersByTheRoundingOfItsWeights) {
  const Logits got = runtime_logits(*fixture().exported, kTokens);
  const Logits want = trainer_logits(fixture().exported->config(), /*round_weights=*/false);
  const double products = 4 * layers() + 1;
  if (attends_in_bf16()) return expect_roundings(got, want, 2 * products + 2 * 4 * layers());
  expect_roundings(got, want, products);
  EXPECT_EQ(got, runtime_logits(*fixture().exported_wide, kTokens));
}

}  // namespace
}  // namespace ringflash
