#include "train/heldout.h"

#include <numbers>

#include "plan/loss_slices.h"
#include "text/tokenizer.h"
#include "train/torch_headers.h"

namespace ringflash {
namespace {

using torch::Tensor;

struct Sums {
  double nats = 0;
  int64_t tokens = 0, correct = 0, bytes = 0;
};

void add_slice(const Tensor& logits, const Tensor& targets, Sums& sums) {
  const Tensor keep = targets.ge(0);
  const Tensor index = targets.clamp_min(0);
  const Tensor picked = torch::log_softmax(logits, 1).gather(1, index.unsqueeze(1)).squeeze(1);
  sums.nats -= (picked * keep).sum(torch::kFloat64).item<double>();
  sums.correct += ((logits.argmax(1) == index) & keep).sum().item<int64_t>();
}

void add_batch(CausalLm& model, const PackedBatch& batch, const BatchTensors& tensors,
               const std::vector<int32_t>& bytes_of_piece, torch::ScalarType compute, Sums& sums) {
  const Tensor hidden = model->hidden_states(tensors.ids, tensors.bounds, compute);
  const int64_t rows = logits_slice_rows(model->config().vocab_size);
  for (int64_t first = 0; first < hidden.size(0); first += rows) {
    const int64_t last = std::min(first + rows, hidden.size(0));
    add_slice(model->head(hidden.slice(0, first, last), compute), tensors.targets.slice(0, first, last), sums);
  }
  for (const int32_t target : batch.targets) {
    if (target == PackedBatch::kIgnored) continue;
    ++sums.tokens;
    sums.bytes += bytes_of_piece[target];
  }
}

}  // namespace

std::vector<int32_t> piece_bytes(const Vocabulary& vocabulary) {
  std::vector<int32_t> bytes;
  for (const Piece& piece : vocabulary.pieces) {
    const bool stands_for_text = piece.type != PieceType::kUnknown && piece.type != PieceType::kUnused;
    const std::string text = stands_for_text ? decode_piece(piece, vocabulary.kind) : "";
    bytes.push_back(static_cast<int32_t>(text.size()));
  }
  return bytes;
}

BatchTensors to_tensors(const PackedBatch& batch, torch::Device device) {
  const auto move = [&](const std::vector<int32_t>& ids) {
    return torch::tensor(ids, torch::kInt32).to(torch::kInt64).to(device);
  };
  return {move(batch.inputs), move(batch.targets), batch.bounds};
}

HeldoutMetrics evaluate_heldout(CausalLm& model, const TokenDataset& dataset, int64_t length, int64_t rows,
                                int64_t max_tokens, const std::vector<int32_t>& bytes_of_piece,
                                torch::ScalarType compute, torch::Device device) {
  torch::NoGradGuard no_grad;
  const PackedRows order(dataset, length, /*seed=*/0, /*shuffle=*/false);
  int64_t total = order.rows_per_epoch();
  if (max_tokens > 0) total = std::min(total, std::max<int64_t>(1, max_tokens / length));
  Sums sums;
  for (int64_t first = 0; first < total; first += rows) {
    const PackedBatch batch = order.batch(first, std::min(rows, total - first));
    const BatchTensors tensors = to_tensors(batch, device);
    add_batch(model, batch, tensors, bytes_of_piece, compute, sums);
  }
  const auto tokens = static_cast<double>(std::max<int64_t>(sums.tokens, 1));
  return {.step = 0,
          .loss = sums.nats / tokens,
          .bits_per_byte = sums.nats / std::numbers::ln2 / static_cast<double>(std::max<int64_t>(sums.bytes, 1)),
          .tokens = sums.tokens,
          .bytes = sums.bytes,
          .accuracy = static_cast<double>(sums.correct) / tokens};
}

}  // namespace ringflash
