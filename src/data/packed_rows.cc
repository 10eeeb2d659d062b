#include "data/packed_rows.h"

#include <algorithm>
#include <numeric>

#include "base/ceil_div.h"
#include "base/rng.h"

namespace ringflash {
namespace {

constexpr size_t kCachedOrders = 2;  // a batch may straddle the edge of two epochs

/// 0 to count - 1.
std::vector<int64_t> numbers(int64_t count) {
  std::vector<int64_t> all(static_cast<size_t>(count));
  std::iota(all.begin(), all.end(), int64_t{0});
  return all;
}

/// Fisher and Yates.
void shuffle(std::vector<int64_t>& all, Rng& rng) {
  for (size_t i = all.size(); i > 1; --i) std::swap(all[i - 1], all[rng.below(i)]);
}

}  // namespace

struct PackedRows::Order {
  std::vector<int64_t> documents;  // in the order they lie
  std::vector<int64_t> starts;     // position of each one's first token within the epoch
  int64_t first_row;               // of those that lie within the epoch
  std::vector<int64_t> rows;       // in the order they are read, from first_row on
};

PackedRows::PackedRows(const TokenDataset& dataset, int64_t length, uint64_t seed, bool shuffle)
    : dataset_(dataset), length_(length), seed_(seed), shuffle_(shuffle) {
  RF_CHECK(length_ > 0 && dataset_.tokens() > 0);
}

int64_t PackedRows::rows_per_epoch() const {
  return ceil_div(dataset_.tokens(), length_);
}

const PackedRows::Order& PackedRows::order(int64_t epoch) const {
  for (const auto& [cached, known] : orders_) {
    if (cached == epoch) return *known;
  }
  auto made = std::make_shared<Order>();
  made->documents = numbers(dataset_.documents());
  made->first_row = ceil_div(epoch * dataset_.tokens(), length_);
  const int64_t end_row = (epoch + 1) * dataset_.tokens() / length_;
  made->rows = numbers(std::max<int64_t>(0, end_row - made->first_row));
  if (shuffle_) {
    Rng rng(Rng(seed_).next() ^ static_cast<uint64_t>(epoch));
    shuffle(made->documents, rng);
    shuffle(made->rows, rng);
  }
  int64_t start = 0;
  for (const int64_t document : made->documents) {
    made->starts.push_back(start);
    start += dataset_.document_tokens(document);
  }
  if (orders_.size() == kCachedOrders) orders_.erase(orders_.begin());
  orders_.emplace_back(epoch, std::move(made));
  return *orders_.back().second;
}

/// Where what is read as row `row` lies in the stream of all epochs. A row across the edge of two stays where it is.
int64_t PackedRows::place_of(int64_t row) const {
  const Order& o = order(row * length_ / dataset_.tokens());
  const int64_t within = row - o.first_row;
  return within >= std::ssize(o.rows) ? row : o.first_row + o.rows[static_cast<size_t>(within)];
}

int64_t PackedRows::fill(int64_t position, std::span<int32_t> inputs, std::span<int32_t> targets) const {
  const Order& o = order(position / dataset_.tokens());
  const int64_t within = position % dataset_.tokens();
  const auto place =
      static_cast<size_t>(std::upper_bound(o.starts.begin(), o.starts.end(), within) - o.starts.begin()) - 1;
  const int64_t document = o.documents[place];
  const int64_t first = within - o.starts[place];
  const int64_t left = dataset_.document_tokens(document) - first;
  const int64_t count = std::min<int64_t>(left, std::ssize(inputs));
  const int64_t with_target = std::min(count, left - 1);  // the document's last token has none
  dataset_.read(document, first, inputs.first(static_cast<size_t>(count)));
  dataset_.read(document, first + 1, targets.first(static_cast<size_t>(with_target)));
  for (int64_t i = 0; i < with_target; ++i) {
    if (!dataset_.is_learned(document, first + 1 + i)) targets[static_cast<size_t>(i)] = PackedBatch::kIgnored;
  }
  return count;
}

PackedBatch PackedRows::batch(int64_t first, int64_t count, int64_t step) const {
  RF_CHECK(first >= 0 && count > 0 && step > 0);
  const auto total = static_cast<size_t>(count * length_);
  PackedBatch batch{std::vector<int32_t>(total), std::vector<int32_t>(total, PackedBatch::kIgnored), {0}};
  for (int64_t i = 0; i < count; ++i) {
    const int64_t number = first + i * step, row = shuffle_ ? place_of(number) : number % rows_per_epoch();
    for (int64_t done = 0; done < length_;) {
      const auto begin = static_cast<size_t>(i * length_ + done), size = static_cast<size_t>(length_ - done);
      const std::span inputs = std::span(batch.inputs).subspan(begin, size);
      const int64_t position = row * length_ + done;
      if (!shuffle_ && position >= dataset_.tokens()) {
        std::fill(inputs.begin(), inputs.end(), last_token());
        done = length_;
      } else {
        done += fill(position, inputs, std::span(batch.targets).subspan(begin, size));
      }
      batch.bounds.push_back(i * length_ + done);
    }
  }
  return batch;
}

int32_t PackedRows::last_token() const {
  const int64_t document = dataset_.documents() - 1;
  int32_t id = 0;
  dataset_.read(document, dataset_.document_tokens(document) - 1, {&id, 1});
  return id;
}

}  // namespace ringflash
