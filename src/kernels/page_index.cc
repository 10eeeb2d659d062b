#include "kernels/page_index.h"

#include <algorithm>
#include <numeric>

#include "base/ceil_div.h"
#include "base/check.h"

namespace ringflash::kernels {
namespace {

double number(float x) {
  return static_cast<double>(x);
}
double number(bf16 x) {
  return static_cast<double>(to_float(x));
}

/// Appends the mean of rows [rows, width] to what grows a quarter at a time: there are many indices.
template <typename T>
void append_mean(std::span<const T> rows, int64_t width, std::vector<bf16>& means) {
  const int64_t count = std::ssize(rows) / width;
  if (means.size() + static_cast<size_t>(width) > means.capacity()) {
    means.reserve(means.size() + std::max(means.size() / 4, static_cast<size_t>(width)));
  }
  for (int64_t i = 0; i < width; ++i) {
    double sum = 0;
    for (int64_t row = 0; row < count; ++row) sum += number(rows[static_cast<size_t>(row * width + i)]);
    means.push_back(to_bf16(static_cast<float>(sum / static_cast<double>(count))));
  }
}

/// In a fixed order of sixteen partial sums, whatever the compiler makes of them.
float dot(const float* a, const bf16* b, int64_t count) {
  float partial[16] = {};
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    for (int64_t k = 0; k < 16; ++k) partial[k] += a[i + k] * to_float(b[i + k]);
  }
  for (; i < count; ++i) partial[i % 16] += a[i] * to_float(b[i]);
  return std::accumulate(partial, partial + 16, 0.0f);
}

/// Reduces `items` to the `count` with the best scores; ties go to the lesser one. NaN ranks last.
void keep_best(std::vector<int32_t>& items, const std::vector<float>& scores, int64_t count) {
  if (std::ssize(items) <= count) return;
  const auto better = [&](int32_t a, int32_t b) {
    const float x = scores[static_cast<size_t>(a)], y = scores[static_cast<size_t>(b)];
    if (x != x || y != y) return (x != x) == (y != y) ? a < b : y != y;
    return x != y ? x > y : a < b;
  };
  std::nth_element(items.begin(), items.begin() + count, items.end(), better);
  items.resize(static_cast<size_t>(count));
}

}  // namespace

std::vector<float> sum_heads(std::span<const float> q, int64_t head_dim) {
  std::vector<float> sum(static_cast<size_t>(head_dim));
  for (size_t i = 0; i < q.size(); ++i) sum[i % sum.size()] += q[i];
  return sum;
}

void PageIndex::add_page(std::span<const float> keys) {
  RF_CHECK(!keys.empty() && std::ssize(keys) % head_dim_ == 0);
  append_mean(keys, head_dim_, means_);
  ++pages_;
  if (pages_ % kGroup == 0) {
    append_mean(std::span<const bf16>(means_).last(static_cast<size_t>(kGroup * head_dim_)), head_dim_,
                group_means_);
  }
}

void PageIndex::choose(std::span<const float> query, int64_t pages, int64_t budget,
                       std::vector<int32_t>& chosen) const {
  RF_CHECK(pages <= pages_ && budget > 0 && std::ssize(query) == head_dim_);
  if (pages <= budget) {
    chosen.resize(static_cast<size_t>(pages));
    std::iota(chosen.begin(), chosen.end(), 0);
    return;
  }
  const int64_t groups = pages / kGroup;
  std::vector<float> scores(static_cast<size_t>(pages));
  std::vector<int32_t> best(static_cast<size_t>(groups));
  std::iota(best.begin(), best.end(), 0);
  const int64_t wanted = ceil_div(2 * budget, kGroup);
  if (groups > wanted) {
    for (const int32_t group : best) {
      scores[static_cast<size_t>(group)] =
          dot(query.data(), group_means_.data() + group * head_dim_, head_dim_);
    }
    keep_best(best, scores, wanted);
  }
  chosen.clear();
  const auto consider = [&](int64_t page) {
    scores[static_cast<size_t>(page)] = dot(query.data(), means_.data() + page * head_dim_, head_dim_);
    chosen.push_back(static_cast<int32_t>(page));
  };
  for (const int32_t group : best) {
    for (int64_t i = 0; i < kGroup; ++i) consider(group * kGroup + i);
  }
  for (int64_t page = groups * kGroup; page < pages; ++page) consider(page);
  keep_best(chosen, scores, budget);
  std::sort(chosen.begin(), chosen.end());
}

}  // namespace ringflash::kernels
