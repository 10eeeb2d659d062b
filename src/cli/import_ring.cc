#include "cli/import_ring.h"

#include <algorithm>
#include <cstdio>
#include <sstream>

#include "base/file.h"
#include "base/progress.h"
#include "base/thread_pool.h"
#include "cli/options.h"
#include "cli/temporary_folder.h"
#include "format/export_gguf.h"
#include "import/import_model.h"

namespace ringflash::cli {
namespace {

/// What --keep-full says: a number of layers to find, or the layers themselves.
struct Kept {
  int64_t worst = 0;
  std::vector<int64_t> layers;
};

Result<int64_t> parse_number(std::string text) {
  if (const std::string wrong = whole_number(0, kMaxLayers)(text); !wrong.empty()) return Error{wrong};
  return std::stoll(text);
}

Result<Kept> parse_kept(const std::string& text) {
  Kept kept;
  if (text.empty()) return kept;
  if (text.find(',') == std::string::npos) {
    RF_TRY(kept.worst, parse_number(text));
    return kept;
  }
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    RF_TRY(const int64_t layer, parse_number(part));
    kept.layers.push_back(layer);
  }
  return kept;
}

}  // namespace

void RingOptions::add_options(CLI::App& app) {
  CLI::Option* ring = app.add_flag("--ring", wanted_, "Replace full attention by ring attention; train --from heals");
  const auto number = [&](const char* name, int64_t& value, const char* help) {
    app.add_option(name, value, help)->type_name("N")->transform(whole_number())->capture_default_str()->needs(ring);
  };
  number("--window", ring_.window, "Tokens behind the own chunk that a token sees; a multiple of the stride");
  number("--stride", ring_.stride, "Tokens in a chunk");
  app.add_option("--global-ratio", ring_.global_ratio, "Share of each chunk that all later tokens see")
      ->type_name("R")
      ->capture_default_str()
      ->needs(ring);
  number("--sink-tokens", ring_.sink_tokens, "First tokens, which all see");
  app.add_option("--global-select", select_, "Pages that a token reads: all, or top_pages")
      ->type_name("NAME")
      ->capture_default_str()
      ->needs(ring);
  app.add_option("--keep-full", keep_full_,
                 "Layers that stay full: N, those that alone as a ring do most harm to --calib; or L,L,... (L, for one)")
      ->type_name("N|L,L,...")
      ->needs(ring);
  app.add_option("--calib", calibration_file_, "Text to measure the harm on; 30 kB will do")
      ->type_name("FILE")
      ->needs(ring);
}

Status RingOptions::check() const {
  const Result<Kept> kept = parse_kept(keep_full_);
  if (!kept) return kept.error().in("--keep-full");
  if (kept->worst > 0 && calibration_file_.empty()) return Error{"--keep-full with a number of layers needs --calib"};
  if (const auto select = parse_global_select(select_); !select) return select.error().in("--global-select");
  return {};
}

Result<HarmReport> RingOptions::measure(const std::filesystem::path& source, const RingGeometry& ring,
                                        int threads) const {
  RF_TRY(const MappedFile text, MappedFile::open(calibration_file_));
  RF_TRY(const TemporaryFolder folder, TemporaryFolder::create());
  const std::filesystem::path all_ring = folder.path() / "ring", file = folder.path() / "ring.gguf";
  RF_TRY_VOID(import_model(source, all_ring, {.ring = RingConversion{ring, {}}}));
  RF_TRY(const Checkpoint checkpoint, open_checkpoint(all_ring));
  RF_TRY_VOID(export_gguf(checkpoint, file, ExportFormat::kQ8, {}));
  ThreadPool pool(threads);
  std::optional<Progress> progress;
  const Result<HarmReport> harm = measure_layer_harm(file, pool, text.text(), [&](int64_t done, int64_t total) {
    if (!progress) progress.emplace("harm of each layer", total);
    progress->update(done);
  });
  return harm ? harm : harm.error().in(calibration_file_);
}

Result<RingOptions::Chosen> RingOptions::choose(const std::filesystem::path& source, int threads) const {
  RF_TRY(const Kept kept, parse_kept(keep_full_));
  Chosen chosen{{ring_, kept.layers}, {}};
  RF_TRY(chosen.conversion.ring.select, parse_global_select(select_));
  if (kept.worst == 0) return chosen;
  RF_TRY(chosen.harm, measure(source, chosen.conversion.ring, threads));
  chosen.conversion.keep_full = chosen.harm.worst(kept.worst);
  return chosen;
}

std::string harm_table(const HarmReport& harm, const std::vector<int64_t>& keep_full) {
  std::vector<LayerHarm> sorted = harm.layers;
  std::ranges::stable_sort(sorted, std::ranges::greater(), &LayerHarm::bits_per_byte);
  char line[96];
  std::snprintf(line, sizeof line, "all full: %.4f bits per byte; with a ring in one layer:\n",
                harm.full_bits_per_byte);
  std::string text = line;
  for (const LayerHarm& each : sorted) {
    const bool kept = std::ranges::find(keep_full, each.layer) != keep_full.end();
    std::snprintf(line, sizeof line, "%6lld  %.4f  %+.2f %%%s\n", static_cast<long long>(each.layer),
                  each.bits_per_byte, 100 * (each.bits_per_byte / harm.full_bits_per_byte - 1), kept ? "  stays full" : "");
    text += line;
  }
  return text;
}

}  // namespace ringflash::cli
