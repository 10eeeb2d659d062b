#include "cli/ringflash_train_compress_table.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/common.h"
#include "eval/perplexity.h"
#include "report/html.h"
#include "report/line_chart.h"
#include "report/page_style.h"
#include "runtime/generate.h"

namespace ringflash::cli {
namespace {

constexpr int64_t kContext = 1024, kPromptTokens = 32, kWrittenTokens = 64;

/// Tokens per second of writing on after the beginning of a text.
Result<double> writing_speed(const Model& model, const std::string& text, Executor& executor) {
  const std::string_view beginning = std::string_view(text).substr(0, kPromptTokens * 16);
  std::vector<int32_t> prompt = model.tokenizer().encode_prompt(beginning, SpecialText::kPlain);
  prompt.resize(std::min(prompt.size(), static_cast<size_t>(kPromptTokens)));
  Session session(model, executor, kPromptTokens + kWrittenTokens);
  const GenerateOptions options{.max_tokens = kWrittenTokens, .sampling = {.temperature = 0}, .ignore_eos = true};
  RF_TRY(const GenerateReport report, generate(session, prompt, options, [](int32_t) { return true; }));
  return report.decode_tokens_per_s();
}

nlohmann::ordered_json to_json(const TableRow& row, const std::vector<EvalText>& texts) {
  nlohmann::ordered_json json = {{"model", row.name},
                                 {"sparsity", row.sparsity},
                                 {"bits", row.bits},
                                 {"heal_steps", row.heal_steps},
                                 {"file_bytes", row.file_bytes},
                                 {"linear_bytes", row.linear_bytes},
                                 {"embedding_bytes", row.embedding_bytes},
                                 {"tokens_per_s", row.tokens_per_s}};
  for (size_t i = 0; i < texts.size(); ++i) {
    json["texts"][texts[i].name] = {{"bits_per_byte", row.scores[i].bits_per_byte},
                                    {"accuracy", row.scores[i].accuracy}};
  }
  return json;
}

std::string cell(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return std::string("<td>") + text + "</td>";
}

std::string row_html(const TableRow& row, const TableRow& first) {
  std::string html = "<tr><td>" + escape_html(row.name) + "</td>";
  html += "<td>" + format_bytes(row.file_bytes) + "</td><td>" + format_bytes(row.linear_bytes) + "</td><td>" +
          format_bytes(row.embedding_bytes) + "</td>" + cell("%.0f", row.tokens_per_s);
  for (size_t i = 0; i < row.scores.size(); ++i) {
    const double more = 100 * (row.scores[i].bits_per_byte / first.scores[i].bits_per_byte - 1);
    html += cell("%.4f", row.scores[i].bits_per_byte) + cell("%+.1f %%", more) +
            cell("%.1f %%", 100 * row.scores[i].accuracy);
  }
  return html + "</tr>\n";
}

/// The rows for which `wanted` holds, from the smallest file to the largest: bits per byte of a text over megabytes.
template <typename Wanted>
Series over_size(const std::vector<TableRow>& rows, size_t text, Wanted wanted) {
  std::vector<std::pair<double, double>> points;
  for (const TableRow& row : rows) {
    if (wanted(row)) points.emplace_back(static_cast<double>(row.file_bytes) / 1e6, row.scores[text].bits_per_byte);
  }
  std::ranges::sort(points);
  Series series;
  for (const auto& [megabytes, bits] : points) series.add(megabytes, bits);
  return series;
}

std::string charts_html(const std::vector<TableRow>& rows, const std::vector<EvalText>& texts) {
  std::string html = "<div class=\"charts\">\n";
  for (size_t i = 0; i < texts.size(); ++i) {
    const Series at_once = over_size(rows, i, [](const TableRow& row) { return row.heal_steps == 0; });
    const Series healed = over_size(rows, i, [](const TableRow& row) { return row.heal_steps > 0; });
    html += line_chart_html({.title = texts[i].name + ": bits per byte over the file's MB",
                             .lines = {{"at once", &at_once, "one", true}, {"healed", &healed, "two", true}},
                             .last_step = at_once.steps.back(),
                             .before_step = "",
                             .after_step = " MB",
                             .marks = {}});
  }
  return html + "</div>\n";
}

}  // namespace

Result<TableRow> measure_model(const std::filesystem::path& checkpoint, const std::filesystem::path& file,
                               ExportFormat format, const std::vector<EvalText>& texts, Executor& executor) {
  RF_TRY(const Checkpoint opened, open_checkpoint(checkpoint));
  RF_TRY(const ExportReport exported, export_gguf(opened, file, format, nullptr));
  RF_TRY(const Model model, Model::load(file));
  TableRow row;
  row.file_bytes = exported.file_bytes;
  row.linear_bytes = exported.linear_bytes;
  row.embedding_bytes = exported.embedding_bytes;
  for (const EvalText& text : texts) {
    const PerplexityOptions options{.context = std::min(kContext, model.config().max_position_embeddings),
                                    .overlap = 0};
    const auto scored = evaluate_perplexity(model, executor, text.text, options, nullptr);
    if (!scored) return scored.error().in(text.name);
    row.scores.push_back({scored->bits_per_byte(), scored->accuracy()});
  }
  RF_TRY(row.tokens_per_s, writing_speed(model, texts.front().text, executor));
  return row;
}

nlohmann::ordered_json table_json(const std::string& title, const std::vector<TableRow>& rows,
                                  const std::vector<EvalText>& texts) {
  nlohmann::ordered_json json = {{"model", title}, {"rows", nlohmann::ordered_json::array()}};
  for (const TableRow& row : rows) json["rows"].push_back(to_json(row, texts));
  return json;
}

std::string table_html(const std::string& title, const std::vector<TableRow>& rows,
                       const std::vector<EvalText>& texts) {
  std::string html(kPageHead);
  html += "<title>" + escape_html(title) + "</title>\n</head>\n<body>\n<main>\n<h1>" + escape_html(title) + "</h1>\n";
  html += "<p>Each model as its file holds it. Percentages beside bits per byte are what a model needs more than the "
          "first one.</p>\n<table>\n<thead><tr><th>model</th><th>file</th><th>linear layers</th><th>embedding</th>"
          "<th>tokens/s</th>";
  for (const EvalText& text : texts) {
    html += "<th>" + escape_html(text.name) + ": bits per byte</th><th></th><th>next token right</th>";
  }
  html += "</tr></thead>\n<tbody>\n";
  for (const TableRow& row : rows) html += row_html(row, rows.front());
  return html + "</tbody>\n</table>\n" + charts_html(rows, texts) + "</main>\n</body>\n</html>\n";
}

}  // namespace ringflash::cli
