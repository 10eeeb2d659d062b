#include "bench/dram_read.h"

#include <cstdint>
#include <vector>

#include "base/stopwatch.h"

namespace ringflash::bench {
namespace {

/// Reads four places at once, as the kernels do with rows: a processor's prefetchers follow each of them.
uint64_t read_all(const std::byte* data, int64_t size) {
  typedef uint64_t Pair __attribute__((vector_size(16)));
  constexpr int kStreams = 4, kLine = 64;
  const int64_t part = size / kStreams / kLine * kLine;
  Pair sums[kStreams] = {};
  for (int64_t at = 0; at < part; at += kLine) {
#pragma GCC unroll 4
    for (int stream = 0; stream < kStreams; ++stream) {
      const std::byte* line = data + stream * part + at;
      __builtin_prefetch(line + 1024);
      Pair pairs[4];
      __builtin_memcpy(pairs, line, sizeof pairs);
      sums[stream] += pairs[0] + pairs[1] + pairs[2] + pairs[3];
    }
  }
  const Pair sum = sums[0] + sums[1] + sums[2] + sums[3];
  return sum[0] + sum[1];
}

}  // namespace

double time_read(std::span<const std::byte> memory, Executor& executor) {
  const int64_t size = std::ssize(memory), threads = executor.concurrency();
  std::vector<uint64_t> sums(static_cast<size_t>(threads));
  const Stopwatch stopwatch;
  executor.for_each(threads, [&](int64_t thread) {
    const int64_t begin = size * thread / threads, end = size * (thread + 1) / threads;
    sums[static_cast<size_t>(thread)] = read_all(memory.data() + begin, end - begin);
  });
  const double seconds = stopwatch.seconds();
  uint64_t sum = 0;
  for (const uint64_t each : sums) sum += each;
  asm volatile("" : : "r"(sum));  // somebody wants the result
  return seconds;
}

}  // namespace ringflash::bench
