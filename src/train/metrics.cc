#include "train/metrics.h"

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/file.h"

namespace ringflash {
namespace {

/// The lines up to `step` but for what is done again from there: its evaluation, and batches skipped after it. A line cut short by a kill does not parse and is dropped with what follows it.
std::string lines_up_to(const std::string& text, int64_t step) {
  std::string kept;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("step") || !json["step"].is_number()) break;
    const auto at = json["step"].get<int64_t>();
    if (at > step || (at == step && (json.contains("heldout_loss") || json.contains("skipped")))) break;
    kept += line + "\n";
  }
  return kept;
}

}  // namespace

Result<MetricsLog> MetricsLog::open(const std::filesystem::path& file, int64_t resume_step) {
  std::error_code error;
  if (std::filesystem::exists(file, error)) {
    RF_TRY(const std::string text, read_file(file));
    RF_TRY_VOID(write_file(file, lines_up_to(text, resume_step)));
  }
  std::FILE* stream = std::fopen(file.c_str(), "ae");
  if (stream == nullptr) return Error{file.string() + ": cannot be opened: " + std::strerror(errno)};
  return MetricsLog(file, stream);
}

MetricsLog::MetricsLog(MetricsLog&& other) noexcept
    : path_(std::move(other.path_)), file_(std::exchange(other.file_, nullptr)) {}

MetricsLog& MetricsLog::operator=(MetricsLog&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(file_, other.file_);
  return *this;
}

MetricsLog::~MetricsLog() {
  if (file_ != nullptr) std::fclose(file_);
}

Status MetricsLog::append(const std::string& line) {
  if (file_ == nullptr) return {};
  if (std::fputs((line + "\n").c_str(), file_) < 0 || std::fflush(file_) != 0) {
    return Error{path_.string() + ": cannot be written: " + std::strerror(errno)};
  }
  return {};
}

Status MetricsLog::write(const StepMetrics& m) {
  nlohmann::ordered_json json = {
      {"step", m.step},           {"loss", m.loss},     {"learning_rate", m.learning_rate},
      {"grad_norm", m.grad_norm}, {"tokens", m.tokens}, {"tokens_per_s", m.tokens_per_s},
      {"seconds", m.seconds},     {"peak_memory", m.peak_memory}};
  if (m.loss_scale) json["loss_scale"] = *m.loss_scale;
  return append(json.dump());
}

Status MetricsLog::write(const SkippedBatch& s) {
  return append(nlohmann::ordered_json{{"step", s.step}, {"tokens", s.tokens}, {"skipped", s.reason}}.dump());
}

Status MetricsLog::write(const MaskMetrics& m) {
  const nlohmann::ordered_json json = {{"step", m.step},
                                       {"mask_kept", m.kept},
                                       {"mask_weights", m.weights},
                                       {"mask_regrown", m.regrown},
                                       {"mask_pruned", m.pruned},
                                       {"mask_kept_energy", m.kept_energy}};
  return append(json.dump());
}

Status MetricsLog::write(const HeldoutMetrics& m) {
  const nlohmann::ordered_json json = {{"step", m.step},
                                       {"heldout_loss", m.loss},
                                       {"heldout_bits_per_byte", m.bits_per_byte},
                                       {"heldout_accuracy", m.accuracy},
                                       {"heldout_tokens", m.tokens},
                                       {"heldout_bytes", m.bytes}};
  return append(json.dump());
}

}  // namespace ringflash
