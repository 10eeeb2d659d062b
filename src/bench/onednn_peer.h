// oneDNN's matrix product, in a process of its own (ringflash-onednn), so that `ringflash` does not link it.
#pragma once

#include <cstdint>
#include <string>

#include "base/subprocess.h"

namespace ringflash::bench {

class OneDnnPeer {
 public:
  /// y [tokens, out] = x [tokens, in] w with `copies` matrices in turn, packed beforehand as oneDNN likes them. `type`:
  /// "int8" (u8 x s8, without any scales), "bf16" (with y in fp32) or "bf16_bf16" (with y in bf16). ONEDNN_MAX_CPU_ISA applies. The error says what is missing.
  static Result<OneDnnPeer> start(const std::string& type, int64_t tokens, int64_t in, int64_t out, int threads,
                                  int64_t copies);

  const std::string& implementation() const { return implementation_; }

  /// Seconds of one product, the mean over the copies.
  Result<double> run();

 private:
  OneDnnPeer(LineProcess process, std::string implementation)
      : process_(std::move(process)), implementation_(std::move(implementation)) {}

  LineProcess process_;
  std::string implementation_;
};

}  // namespace ringflash::bench
