// `ringflash bench decode`: reading a prompt and writing on with whole models of one shape, stored in several formats.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/executor.h"
#include "bench/rounds.h"
#include "runtime/model.h"

namespace ringflash::bench {

/// A model as loaded, and what it is called in the report.
struct NamedModel {
  std::string name;
  Model model;
};

struct ModelBenchOptions {
  std::vector<int64_t> prompts = {512};  ///< tokens read before writing
  int64_t tokens = 64;                   ///< written
  RoundOptions rounds;
};

struct ModelRow {
  std::string name;
  int64_t n;
  double prefill_tokens_per_s, decode_tokens_per_s;  ///< medians
  double prefill_speedup, decode_speedup;            ///< against the first model
};

/// Models take turns, prompt by prompt. Before that, each must give the same logits for a prompt read at once and token
/// by token, rounding aside.
Result<std::vector<ModelRow>> bench_models(const std::vector<NamedModel>& models, const ModelBenchOptions& options,
                                           Executor& executor, const std::function<void(std::string_view)>& remark);

}  // namespace ringflash::bench
