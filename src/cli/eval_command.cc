#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/file.h"
#include "base/thread_pool.h"
#include "cli/commands.h"
#include "cli/eval_tasks.h"
#include "cli/options.h"

namespace ringflash::cli {
namespace {

class EvalCommand final : public Command {
 public:
  EvalCommand();
  void add_options(CLI::App& app) override;
  Status check() const override;
  Status run(const CommonOptions& common) override;

 private:
  struct Entry {
    std::unique_ptr<EvalTask> task;
    const CLI::App* options = nullptr;  ///< the task's own
  };
  const Entry* find_task() const;

  std::vector<Entry> tasks_;
  std::string model_file_, task_name_;
  std::optional<std::string> data_file_;
};

EvalCommand::EvalCommand() {
  for (const auto make : {make_perplexity_task, make_needle_task}) tasks_.push_back({make()});
}

void EvalCommand::add_options(CLI::App& app) {
  std::string summaries;
  for (const Entry& entry : tasks_) {
    summaries += (summaries.empty() ? "" : "; ") + entry.task->name() + " (" + entry.task->summary() + ")";
  }
  app.add_option("MODEL", model_file_, "GGUF file")->type_name("FILE")->required();
  app.add_option("--task", task_name_, "What to measure: " + summaries)->type_name("NAME")->required();
  app.add_option("--data", data_file_, "Text to measure it on; needle: to hide the facts in")
      ->type_name("FILE");
  for (Entry& entry : tasks_) {
    CLI::App* group = app.add_option_group("--task " + entry.task->name());
    entry.task->add_options(*group);
    entry.options = group;
  }
}

const EvalCommand::Entry* EvalCommand::find_task() const {
  for (const Entry& entry : tasks_) {
    if (task_name_ == entry.task->name()) return &entry;
  }
  return nullptr;
}

Status EvalCommand::check() const {
  const Entry* wanted = find_task();
  if (wanted == nullptr) {
    std::string names;
    for (const Entry& entry : tasks_) names += (names.empty() ? "" : ", ") + entry.task->name();
    return Error{"--task: '" + task_name_ + "' is none of the tasks there are: " + names};
  }
  if (wanted->task->needs_data() && !data_file_) return Error{"--data is required by --task " + task_name_};
  for (const Entry& other : tasks_) {
    if (&other == wanted) continue;
    for (const CLI::Option* option : other.options->get_options()) {
      if (option->count() > 0) {
        return Error{option->get_name() + " belongs to --task " + other.task->name() + ", not to " +
                     task_name_};
      }
    }
  }
  return {};
}

Status EvalCommand::run(const CommonOptions& common) {
  std::optional<MappedFile> data;
  if (data_file_) {
    RF_TRY(data, MappedFile::open(*data_file_));
    if (data->text().empty()) return Error{*data_file_ + ": the file is empty: there is nothing to measure"};
  }
  RF_TRY(const Model model, Model::load(model_file_));
  ThreadPool pool(common.threads);
  return find_task()->task->run({.model_file = model_file_,
                                 .model = model,
                                 .executor = pool,
                                 .data = data ? data->text() : std::string_view(),
                                 .json = common.json});
}

}  // namespace

std::unique_ptr<Command> make_eval_command() {
  return std::make_unique<EvalCommand>();
}

}  // namespace ringflash::cli
