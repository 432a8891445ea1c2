#include "server/packs.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

// packs/*.yaml, put into the program by packs_data.cc.
extern "C" {
extern const char fettle_packs_identifiers[];
extern const char fettle_packs_identifiers_end[];
extern const char fettle_packs_prices[];
extern const char fettle_packs_prices_end[];
}

namespace fettle::server {
namespace {

std::string_view between(const char* begin, const char* end) { return {begin, static_cast<std::size_t>(end - begin)}; }

Result<std::string> read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return fail(ErrorCode::kInvalidArgument, "cannot be read");
  return std::string((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
}

// Parses `file` when the configuration names one, else what is built in.
template <class Table>
Result<Table> load(std::string_view key, const std::filesystem::path& file, std::string_view built_in) {
  if (file.empty()) {
    auto table = Table::parse(built_in);
    if (!table) return std::unexpected(std::move(table).error().within(fmt::format("built-in {}", key)));
    return table;
  }
  auto text = read_text(file);
  if (!text) return std::unexpected(std::move(text).error().within(fmt::format("{}: {}", key, file.string())));
  auto table = Table::parse(*text);
  if (!table) return std::unexpected(std::move(table).error().within(fmt::format("{}: {}", key, file.string())));
  return table;
}

}  // namespace

Result<telemetry::IdentifierCatalogue> load_identifiers(const Config& config) {
  return load<telemetry::IdentifierCatalogue>("identifiers_file", config.identifiers_file,
                                              between(fettle_packs_identifiers, fettle_packs_identifiers_end));
}

Result<ingest::PriceTable> load_prices(const Config& config) {
  return load<ingest::PriceTable>("prices_file", config.prices_file,
                                  between(fettle_packs_prices, fettle_packs_prices_end));
}

}  // namespace fettle::server
