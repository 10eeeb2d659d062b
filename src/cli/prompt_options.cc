#include "cli/prompt_options.h"

#include "base/file.h"

namespace ringflash::cli {

void PromptOptions::add_options(CLI::App& app, const std::string& purpose) {
  app.add_option("-p,--prompt", text, "Text " + purpose)->type_name("TEXT");
  app.add_option("--prompt-file", file, "File with the text " + purpose)->type_name("FILE")->excludes("--prompt");
}

Status PromptOptions::check() const {
  if (!text && !file) return Error{"one of --prompt and --prompt-file is required"};
  return {};
}

Result<std::string> PromptOptions::read() const {
  if (file) return read_file(*file);
  return text.value_or("");
}

}  // namespace ringflash::cli
