#include "kernels/rope.h"

#include <bit>
#include <cmath>
#include <map>
#include <mutex>
#include <utility>

#include "base/check.h"
#include "kernels/kernels.h"

namespace ringflash::kernels {

RopeTable make_rope_table(int64_t first, int64_t count, int64_t head_dim, double theta) {
  RF_CHECK(head_dim > 0 && head_dim % 2 == 0);
  RF_CHECK(first >= 0 && count >= 0);
  RopeTable table{.first = first, .count = count, .half = head_dim / 2, .cosine = {}, .sine = {}};
  table.cosine.resize(static_cast<size_t>(count * table.half));
  table.sine.resize(static_cast<size_t>(count * table.half));
  for (int64_t i = 0; i < table.half; ++i) {
    const double frequency = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
    for (int64_t row = 0; row < count; ++row) {
      const double angle = static_cast<double>(first + row) * frequency;
      table.cosine[static_cast<size_t>(row * table.half + i)] = static_cast<float>(std::cos(angle));
      table.sine[static_cast<size_t>(row * table.half + i)] = static_cast<float>(std::sin(angle));
    }
  }
  return table;
}

std::shared_ptr<const RopeTable> shared_rope_table(int64_t count, int64_t head_dim, double theta) {
  static std::mutex mutex;
  static std::map<std::pair<int64_t, double>, std::shared_ptr<const RopeTable>> tables;
  const std::lock_guard lock(mutex);
  std::shared_ptr<const RopeTable>& table = tables[{head_dim, theta}];
  if (!table || table->count < count) {
    const auto rounded = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(count)));
    table = std::make_shared<const RopeTable>(make_rope_table(0, rounded, head_dim, theta));
  }
  return table;
}

void rope_rotate(const float* x, float* y, const RopeTable& rope, int64_t position) {
  table().rope(x, y, rope.cosine_at(position), rope.sine_at(position), rope.half, 1.0f);
}

void rope_unrotate(const float* x, float* y, const RopeTable& rope, int64_t position) {
  table().rope(x, y, rope.cosine_at(position), rope.sine_at(position), rope.half, -1.0f);
}

}  // namespace ringflash::kernels
