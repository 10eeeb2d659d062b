// Trainer and runtime compute the same model: a checkpoint trained for a moment, its bf16 export, 3000 tokens.
#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>

#include "base/thread_pool.h"
#include "expect_close.h"
#include "format/export_gguf.h"
#include "runtime/session.h"
#include "temporary_directory.h"
#include "train/checkpointing.h"
#include "train/modules.h"
#include "train/run_support.h"
#include "train/torch_headers.h"

namespace ringflash {
namespace {

namespace fs = std::filesystem;
using Logits = std::vector<float>;

constexpr int64_t kTokens = 3000;
constexpr double kBf16Unit = 0x1p-9;  // largest relative error of rounding to bf16

/// Everything the tests compare, made once.
struct Fixture {
  Fixture() {
    testing::write_corpus(directory / "data", 16, 16000);
    const TrainRequest request = testing::small_run(directory / "data", directory / "run", 150);
    const Result<TrainReport> report = run_training(request);
    if (!report) throw std::runtime_error(report.error().message);
    RF_CHECK(report->last_bits_per_byte < 0.6 * report->first_bits_per_byte);
    checkpoint = report->checkpoint;
    const Result<Checkpoint> opened = open_checkpoint(checkpoint);
    RF_CHECK(opened.ok());
    RF_CHECK(export_gguf(*opened, directory / "model.gguf", ExportFormat::kBF16, [](int64_t, int64_t) {}).ok());
    model.emplace(Model::load(directory / "model.gguf").value());
    ids = {1};
    for (const int32_t id : model->tokenizer().encode(testing::prose(40000, 999))) ids.push_back(id);
    RF_CHECK(static_cast<int64_t>(ids.size()) >= kTokens);
    ids.resize(kTokens);
  }

  testing::TemporaryDirectory directory;
  fs::path checkpoint;
  std::optional<Model> model;
  std::vector<int32_t> ids;
};

Fixture& fixture() {
  static Fixture made;
  return made;
}

/// The trainer's logits in fp32, from the weights as they are or as a bf16 export holds them.
Logits trainer_logits(bool round_weights) {
  Fixture& f = fixture();
  CausalLm model(f.model->config(), 0);
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
Logits runtime_logits(int64_t piece) {
  Fixture& f = fixture();
  ThreadPool pool(2);
  Session session(*f.model, pool, kTokens);
  const int64_t vocab = f.model->config().vocab_size;
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
  const int64_t vocab = fixture().model->config().vocab_size;
  int64_t equal = 0;
  for (int64_t t = 0; t < kTokens; ++t) {
    const auto best = [&](const Logits& x) {
      return std::max_element(x.begin() + t * vocab, x.begin() + (t + 1) * vocab) - (x.begin() + t * vocab);
    };
    equal += best(a) == best(b);
  }
  return static_cast<double>(equal) / static_cast<double>(kTokens);
}

// With the weights rounded alike, both sides compute the same function in fp32 and differ in the order of their
// sums alone: docs/numerics.md derives 2e-4 of the logits' size for a model of this depth.
TEST(TrainerRuntimeParity, SameWeightsGiveTheSameLogits) {
  const Logits want = trainer_logits(/*round_weights=*/true);
  const double size = root_mean_square(want);
  for (const int64_t piece : {kTokens, int64_t{1}, int64_t{7}, int64_t{64}, int64_t{1000}}) {
    SCOPED_TRACE("pieces of " + std::to_string(piece));
    const Logits got = runtime_logits(piece);
    testing::expect_close(got, want, {.absolute = 2e-4 * size, .relative = 2e-4});
    EXPECT_GE(argmax_agreement(got, want), 0.999);
  }
}

// Against the checkpoint's own fp32 weights the export differs by the rounding of its weights. Each of the S
// matrix products in a row (4 per layer on the residual path's way, and the head) adds an independent relative error of
// kBf16Unit / sqrt(3) at most in the mean; over 1.2 million logits the largest is within 6 standard deviations.
TEST(TrainerRuntimeParity, ExportDiffersByTheRoundingOfItsWeights) {
  const Logits want = trainer_logits(/*round_weights=*/false), got = runtime_logits(kTokens);
  const double products = 4.0 * static_cast<double>(fixture().model->config().num_hidden_layers) + 1;
  const double deviation = kBf16Unit / std::sqrt(3.0) * std::sqrt(products) * root_mean_square(want);
  testing::expect_close(got, want, {.absolute = 6 * deviation, .relative = 2 * kBf16Unit});
  EXPECT_GE(argmax_agreement(got, want), 0.995);
}

}  // namespace
}  // namespace ringflash
