#include "runtime/layer_matrix.h"

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "base/grow.h"

namespace ringflash {
namespace {

/// Rows of A that a task multiplies: a multiple of 32, as the bf16 kernels want it.
constexpr int64_t kTaskRows = 256;

void multiply_rows(const kernels::Table& table, const WeightMatrix& a, const float* x, float* y, int64_t tokens,
                   int64_t begin, int64_t end) {
  if (a.type == GgufType::kF32) {
    return table.matmul_f32(x, static_cast<const float*>(a.data), y, tokens, a.columns, a.rows, begin, end);
  }
  RF_CHECK(a.type == GgufType::kBF16);
  table.matmul_bf16(x, static_cast<const bf16*>(a.data), y, tokens, a.columns, a.rows, begin, end);
}

/// y += inner A^T of one projection, rows [begin, end).
struct DeltaTask {
  const LayerProjection* projection;
  const float* inner;  ///< [tokens, rank]
  float* outer;        ///< [tokens, rows]
  int64_t begin, end;
};

void run(const DeltaTask& task, const kernels::Table& table, int64_t tokens) {
  const WeightMatrix& a = task.projection->matrix.delta_a;
  multiply_rows(table, a, task.inner, task.outer, tokens, task.begin, task.end);
  for (int64_t t = 0; t < tokens; ++t) {
    const int64_t first = t * a.rows + task.begin;
    table.add(task.outer + first, task.projection->y + first, task.end - task.begin);
  }
}

/// Numbers that the pairs of all projections make of a token.
struct DeltaWidths {
  int64_t inner = 0, outer = 0;
};

DeltaWidths widths(std::span<const LayerProjection> projections) {
  DeltaWidths sum;
  for (const LayerProjection& each : projections) {
    sum.inner += each.matrix.delta_b.rows;
    sum.outer += each.matrix.delta_a.rows;
  }
  return sum;
}

}  // namespace

void multiply(const kernels::Table& table, Executor& executor, std::span<const LayerProjection> projections,
              const float* x, int64_t tokens, RoundedTokens& rounded, DeltaBuffers& buffers) {
  const DeltaWidths width = widths(projections);
  grow(buffers.inner, width.inner * tokens);
  grow(buffers.outer, width.outer * tokens);
  float *inner = buffers.inner.data(), *outer = buffers.outer.data();
  std::vector<Projection> products;
  std::vector<DeltaTask> tasks;
  for (const LayerProjection& each : projections) {
    products.push_back({each.matrix.w, each.y});
    if (!each.matrix.has_delta()) continue;
    const auto& [w, a, b] = each.matrix;
    products.push_back({b, inner});
    for (int64_t begin = 0; begin < a.rows; begin += kTaskRows) {
      tasks.push_back({&each, inner, outer, begin, std::min(begin + kTaskRows, a.rows)});
    }
    inner += b.rows * tokens;
    outer += a.rows * tokens;
  }
  multiply(table, executor, products, x, tokens, rounded);
  if (tasks.empty()) return;
  executor.for_each(std::ssize(tasks), [&](int64_t task) { run(tasks[static_cast<size_t>(task)], table, tokens); });
}

}  // namespace ringflash
