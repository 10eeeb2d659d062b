#include "bench/dram_read.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/stopwatch.h"

namespace ringflash::bench {
namespace {

constexpr int64_t kPiece = int64_t{1} << 20;  // of a task

/// Several sums side by side: one load needs not wait for another's.
uint64_t read_all(const std::byte* data, int64_t size) {
  typedef uint64_t Pair __attribute__((vector_size(16)));
  Pair sums[8] = {};
  for (int64_t at = 0; at + 128 <= size; at += 128) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      Pair pair;
      __builtin_memcpy(&pair, data + at + i * 16, sizeof pair);
      sums[i] += pair;
    }
  }
  Pair sum{};
  for (const Pair& each : sums) sum += each;
  return sum[0] + sum[1];
}

}  // namespace

double time_read(std::span<const std::byte> memory, Executor& executor) {
  const int64_t size = std::ssize(memory), pieces = (size + kPiece - 1) / kPiece;
  std::vector<uint64_t> sums(static_cast<size_t>(pieces));
  const Stopwatch stopwatch;
  // Each thread reads on where it was, as it does with its rows of a matrix.
  const int64_t threads = executor.concurrency();
  executor.for_each(threads, [&](int64_t thread) {
    for (int64_t piece = pieces * thread / threads; piece < pieces * (thread + 1) / threads; ++piece) {
      sums[static_cast<size_t>(piece)] = read_all(memory.data() + piece * kPiece, std::min(kPiece, size - piece * kPiece));
    }
  });
  const double seconds = stopwatch.seconds();
  uint64_t sum = 0;
  for (const uint64_t each : sums) sum += each;
  asm volatile("" : : "r"(sum));  // somebody wants the result
  return seconds;
}

}  // namespace ringflash::bench
