// torch.nn.functional.scaled_dot_product_attention as it is where a Python with torch is installed, in a process of its
// own that takes turns with ours.
#pragma once

#include <cstdint>
#include <string>

#include "base/subprocess.h"
#include "bench/attention_case.h"

namespace ringflash::bench {

class TorchPeer {
 public:
  /// Starts $RINGFLASH_PYTHON, or python3, with `threads` threads. The error says what is missing.
  static Result<TorchPeer> start(int threads);

  const std::string& version() const { return version_; }

  /// Random bf16 inputs of the case's shapes for the runs that follow.
  Status prepare(int64_t tokens, const AttentionCase& attention);
  /// Seconds of one causal forward pass, or of forward and backward.
  Result<double> run(bool backward);

  /// Keys and values in bf16.
  int64_t cache_bytes(int64_t tokens, const AttentionCase& attention) const;

 private:
  TorchPeer(LineProcess process, std::string version) : process_(std::move(process)), version_(std::move(version)) {}
  static Result<std::string> answer(LineProcess& process);

  LineProcess process_;
  std::string version_;
};

}  // namespace ringflash::bench
