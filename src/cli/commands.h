// The commands of `ringflash`, one file each.
#pragma once

#include <memory>

#include "cli/common.h"

namespace ringflash::cli {

std::unique_ptr<Command> make_import_command();
std::unique_ptr<Command> make_export_command();
std::unique_ptr<Command> make_generate_command();
std::unique_ptr<Command> make_chat_command();
std::unique_ptr<Command> make_eval_command();
std::unique_ptr<Command> make_bench_command();
std::unique_ptr<Command> make_info_command();
std::unique_ptr<Command> make_plan_command();
std::unique_ptr<Command> make_tokenize_command();
std::unique_ptr<Command> make_report_command();

// What `ringflash bench` measures.
std::unique_ptr<Command> make_bench_attention();
std::unique_ptr<Command> make_bench_decode();
std::unique_ptr<Command> make_bench_linear();
std::unique_ptr<Command> make_bench_prefill();

/// Becomes the training half: `ringflash-train` beside this binary, else on PATH, with the arguments as they
/// are (arguments[0] is the command's name). Returns only where there is none.
Error become_training_half(char** arguments);

}  // namespace ringflash::cli
