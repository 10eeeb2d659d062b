#include "runtime/weights.h"

#include <algorithm>
#include <vector>

#include "base/ceil_div.h"
#include "base/check.h"
#include "base/grow.h"
#include "format/quantize_q4_0.h"
#include "format/quantize_q4_1.h"
#include "format/quantize_q5_0.h"
#include "format/quantize_q8_0.h"

namespace ringflash {
namespace {

// A task must outweigh what it costs to hand it to a thread.
constexpr int64_t kLeastTaskMacs = 65536;
constexpr int64_t kTaskElements = 8192;

// Large matrices become more tasks than there are threads, so that one that is held up leaves its share to the others. Small
// ones do not: each task has to get its streams of weights from memory going, which takes as long as some 100,000 products.
constexpr int64_t kTaskMacs = 8 * kLeastTaskMacs;
constexpr int64_t kTasksPerThread = 8;

// A task that reads packed tokens reads all of them, from a cache that both threads share: that takes so many rows.
constexpr int64_t kWideTaskRows = 512;

// Outputs of a task are whole cache lines, so that no two threads write the same one, and whole tiles of the
// kernels.
constexpr int64_t kOutputGranule = 32;

/// How the products with a matrix read their activations.
enum class Operand { kFloat, kInt8, kWide };

Operand operand_of(const kernels::Table& table, const WeightMatrix& w, int64_t tokens) {
  const bool wide = table.wide != nullptr && w.columns % kernels::kWidePanelInputs == 0;
  switch (w.type) {
    case GgufType::kF32:
      return Operand::kFloat;
    case GgufType::kBF16:
      return wide && tokens >= kernels::kLeastWideTokens ? Operand::kWide : Operand::kFloat;
    case GgufType::kQ4_0:
    case GgufType::kQ4_1:
    case GgufType::kQ5_0:
    case GgufType::kQ8_0:
      return wide && tokens >= kernels::kLeastWideTokens ? Operand::kWide : Operand::kInt8;
    case GgufType::kI8: {
      const bool index = is_index_form(w.sparse.shape.nonzeros);
      const int64_t least = index ? kernels::kLeastWideIndexTokens : kernels::kLeastWideTokens;
      return wide && tokens >= least ? Operand::kWide : Operand::kInt8;
    }
    default:
      break;  // not accepted by Model::load
  }
  RF_UNREACHABLE();
}

/// Activations in each form that one of the matrices reads.
struct Operands {
  const float* x;
  int64_t tokens;
  kernels::Int8Tokens int8;
  kernels::WideTokens wide;
};

void multiply_rounded(const kernels::Table& table, const WeightMatrix& w, const kernels::Int8Tokens& x, float* y,
                      int64_t begin, int64_t end) {
  switch (w.type) {
    case GgufType::kQ8_0:
      return table.matmul_q8_0(x, static_cast<const BlockQ8_0*>(w.data), y, w.rows, begin, end);
    case GgufType::kQ4_0:
      return table.matmul_q4_0(x, static_cast<const BlockQ4_0*>(w.data), y, w.rows, begin, end);
    case GgufType::kQ4_1:
      return table.matmul_q4_1(x, static_cast<const BlockQ4_1*>(w.data), y, w.rows, begin, end);
    case GgufType::kQ5_0:
      return table.matmul_q5_0(x, static_cast<const BlockQ5_0*>(w.data), y, w.rows, begin, end);
    case GgufType::kI8:
      return table.matmul_sparse(x, w.sparse, static_cast<const std::byte*>(w.data), y, w.rows,
                                 {begin / kSparseRows, ceil_div(end, kSparseRows)});
    default:
      break;
  }
  RF_UNREACHABLE();
}

void multiply_wide(const kernels::WideKernels& wide, const WeightMatrix& w, const kernels::WideTokens& x, float* y,
                   int64_t begin, int64_t end) {
  switch (w.type) {
    case GgufType::kBF16:
      return wide.matmul_bf16(x, static_cast<const bf16*>(w.data), y, w.rows, begin, end);
    case GgufType::kQ8_0:
      return wide.matmul_q8_0(x, static_cast<const BlockQ8_0*>(w.data), y, w.rows, begin, end);
    case GgufType::kQ4_0:
      return wide.matmul_q4_0(x, static_cast<const BlockQ4_0*>(w.data), y, w.rows, begin, end);
    case GgufType::kQ4_1:
      return wide.matmul_q4_1(x, static_cast<const BlockQ4_1*>(w.data), y, w.rows, begin, end);
    case GgufType::kQ5_0:
      return wide.matmul_q5_0(x, static_cast<const BlockQ5_0*>(w.data), y, w.rows, begin, end);
    case GgufType::kI8:
      return wide.matmul_sparse(x, w.sparse, static_cast<const std::byte*>(w.data), y, w.rows,
                                {begin / kSparseRows, ceil_div(end, kSparseRows)});
    default:
      break;
  }
  RF_UNREACHABLE();
}

void multiply_range(const kernels::Table& table, const WeightMatrix& w, const Operands& x, float* y, int64_t begin,
                    int64_t end) {
  switch (operand_of(table, w, x.tokens)) {
    case Operand::kInt8:
      return multiply_rounded(table, w, x.int8, y, begin, end);
    case Operand::kWide:
      return multiply_wide(*table.wide, w, x.wide, y, begin, end);
    case Operand::kFloat:
      break;
  }
  if (w.type == GgufType::kF32) {
    return table.matmul_f32(x.x, static_cast<const float*>(w.data), y, x.tokens, w.columns, w.rows, begin, end);
  }
  RF_CHECK(w.type == GgufType::kBF16);  // Model::load accepts no fp16
  table.matmul_bf16(x.x, static_cast<const bf16*>(w.data), y, x.tokens, w.columns, w.rows, begin, end);
}

/// Tasks that read weights as they are: as many for each thread, unless they would be too small.
int64_t narrow_tasks(int64_t macs, int64_t threads) {
  const int64_t each = std::clamp<int64_t>(ceil_div(macs, kTaskMacs * threads), 1, kTasksPerThread);
  return std::min(each * threads, std::max<int64_t>(1, macs / kLeastTaskMacs));
}

/// Tasks of about kWideTaskRows rows, as many for each thread.
int64_t wide_tasks(int64_t rows, int64_t threads) {
  return round_up(ceil_div(rows, kWideTaskRows), threads);
}

/// Outputs [begin, end) of a projection: a task.
struct RowRange {
  const Projection* projection;
  int64_t begin, end;
};

/// Appends ranges of about `weights` weights that cover the projection.
void cut_rows(const Projection& projection, int64_t weights, std::vector<RowRange>& ranges) {
  const WeightMatrix& w = projection.w;
  const int64_t rows = round_up(ceil_div(weights, w.columns), kOutputGranule);
  for (int64_t begin = 0; begin < w.rows; begin += rows) {
    ranges.push_back({&projection, begin, std::min(begin + rows, w.rows)});
  }
}

}  // namespace

kernels::Int8Tokens RoundedTokens::to_int8(const kernels::Table& table, Executor& executor, const float* x,
                                           int64_t tokens, int64_t in) {
  kernels::Int8Tokens view{nullptr, nullptr, tokens, in};
  grow(scales_, view.groups() * tokens);
  grow(values_, view.groups() * tokens * kernels::kInt8Group);
  const int64_t run = std::max<int64_t>(1, kTaskElements / in);
  executor.for_each(ceil_div(tokens, run), [&](int64_t task) {
    const int64_t begin = task * run;
    table.round_to_int8(x, tokens, in, begin, std::min(begin + run, tokens), values_.data(), scales_.data());
  });
  view.values = values_.data();
  view.scales = scales_.data();
  return view;
}

kernels::WideTokens RoundedTokens::to_wide(const kernels::Table& table, Executor& executor, const float* x,
                                           int64_t tokens, int64_t in) {
  kernels::WideTokens view{nullptr, tokens, in};
  grow(wide_, view.numbers());
  executor.for_each(view.tiles(), [&](int64_t tile) {
    table.wide->round(x, tokens, in, tile, tile + 1, wide_.data());
  });
  view.values = wide_.data();
  return view;
}

bool rounds_to_bf16(const kernels::Table& table, const WeightMatrix& w, int64_t tokens) {
  return operand_of(table, w, tokens) == Operand::kWide;
}

void multiply(const kernels::Table& table, Executor& executor, std::span<const Projection> projections, const float* x,
              int64_t tokens, RoundedTokens& rounded) {
  Operands operands{x, tokens, {}, {}};
  int64_t weights = 0;
  const auto any = [&](Operand kind) {
    return std::ranges::any_of(projections, [&](const Projection& each) { return operand_of(table, each.w, tokens) == kind; });
  };
  for (const Projection& each : projections) weights += each.w.rows * each.w.columns;
  const int64_t in = projections.front().w.columns;
  if (any(Operand::kInt8)) operands.int8 = rounded.to_int8(table, executor, x, tokens, in);
  if (any(Operand::kWide)) operands.wide = rounded.to_wide(table, executor, x, tokens, in);
  const int64_t threads = executor.concurrency();
  const int64_t tasks = operands.wide.values != nullptr ? wide_tasks(weights / in, threads) : narrow_tasks(tokens * weights, threads);
  std::vector<RowRange> ranges;
  for (const Projection& each : projections) cut_rows(each, ceil_div(weights, tasks), ranges);
  executor.for_each(std::ssize(ranges), [&](int64_t task) {
    const auto& [projection, begin, end] = ranges[static_cast<size_t>(task)];
    multiply_range(table, projection->w, operands, projection->y, begin, end);
  });
}

void read_row(const WeightMatrix& w, int64_t row, std::span<float> out) {
  const auto columns = static_cast<size_t>(w.columns);
  const auto blocks_of = [&]<typename Block>(const Block*) {
    const int64_t blocks = w.columns / Block::kWeights;
    return std::span(static_cast<const Block*>(w.data) + row * blocks, static_cast<size_t>(blocks));
  };
  switch (w.type) {
    case GgufType::kF32: {
      std::copy_n(static_cast<const float*>(w.data) + row * w.columns, columns, out.data());
      return;
    }
    case GgufType::kBF16: {
      const bf16* values = static_cast<const bf16*>(w.data) + row * w.columns;
      std::transform(values, values + columns, out.data(), [](bf16 x) { return to_float(x); });
      return;
    }
    case GgufType::kQ8_0:
      return dequantize_q8_0(blocks_of(static_cast<const BlockQ8_0*>(nullptr)), out);
    case GgufType::kQ4_0:
      return dequantize_q4_0(blocks_of(static_cast<const BlockQ4_0*>(nullptr)), out);
    case GgufType::kQ4_1:
      return dequantize_q4_1(blocks_of(static_cast<const BlockQ4_1*>(nullptr)), out);
    case GgufType::kQ5_0:
      return dequantize_q5_0(blocks_of(static_cast<const BlockQ5_0*>(nullptr)), out);
    default:
      break;  // no embedding is stored so
  }
  RF_UNREACHABLE();
}

}  // namespace ringflash
