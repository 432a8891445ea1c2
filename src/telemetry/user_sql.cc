#include "telemetry/user_sql.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cctype>
#include <functional>
#include <set>
#include <vector>

#include "telemetry/schema.h"

namespace fettle::telemetry {
namespace {

constexpr std::size_t kQueryBytesMax = 64 * 1024;
constexpr std::string_view kFormat = "JSONCompactEachRowWithNamesAndTypes";

// The settings of a person's session; readonly comes last, for nothing can be set after it.
StatementOptions session(const Client& client, const Scope& scope, SqlLimits limits, const ReadOptions& options) {
  StatementOptions statement;
  statement.workspace = scope.workspace.value;
  statement.time_max = options.time_max;
  statement.stop = options.stop;
  statement.response_bytes_max = limits.bytes_max + 1024UL * 1024;
  statement.settings = {{"json_type_escape_dots_in_keys", "1"},           {"output_format_json_quote_denormals", "1"},
                        {"output_format_json_quote_64bit_integers", "0"}, {"default_format", std::string(kFormat)},
                        {"limit", std::to_string(limits.rows_max + 1)},   {"database", client.database()}};
  if (limits.memory_bytes_max != 0)
    statement.settings.emplace_back("max_memory_usage", std::to_string(limits.memory_bytes_max));
  statement.settings.emplace_back("readonly", "1");
  return statement;
}

// The value of `key: value` in a line of the query tree, up to the next comma.
std::string_view member(std::string_view line, std::string_view key) {
  const std::size_t at = line.find(key);
  if (at == std::string_view::npos) return {};
  line.remove_prefix(at + key.size());
  return line.substr(0, line.find(','));
}

struct TreeLine {
  std::size_t indent = 0;
  std::string_view text;
  std::string_view parent;  // the nearest line above that is indented less
};

std::vector<TreeLine> lines_of(std::string_view tree) {
  std::vector<TreeLine> lines;
  std::vector<TreeLine> open;
  while (!tree.empty()) {
    const std::size_t end = std::min(tree.find('\n'), tree.size());
    const std::string_view line = tree.substr(0, end);
    tree.remove_prefix(std::min(end + 1, tree.size()));
    const std::size_t indent = std::min(line.find_first_not_of(' '), line.size());
    while (!open.empty() && open.back().indent >= indent) open.pop_back();
    lines.push_back({indent, line.substr(indent), open.empty() ? std::string_view{} : open.back().text});
    open.push_back(lines.back());
  }
  return lines;
}

// The tree before any pass: nothing has been resolved or run, so a subquery that would become a constant is still here.
Result<void> check_tree(std::string_view tree, const std::string& database) {
  const std::vector<TreeLine> lines = lines_of(tree);
  if (lines.empty() || !(lines[0].text.starts_with("QUERY") || lines[0].text.starts_with("UNION"))) {
    return fail(ErrorCode::kInvalidArgument, "expected one SELECT without a FORMAT clause");
  }
  std::set<std::string, std::less<>> readable = {"system.one"};  // what a SELECT without FROM reads
  for (const std::string& table : Schema::published_names()) {
    readable.insert(table);
    readable.insert(database + "." + table);
  }
  for (const TreeLine& line : lines) {
    if (const std::string_view name = member(line.text, "cte_name: "); !name.empty()) readable.emplace(name);
  }
  for (const TreeLine& line : lines) {
    // In a subquery they reach the engine unchecked, and one of them says whose rows are seen.
    if (line.text.starts_with("SETTINGS")) {
      return fail(ErrorCode::kInvalidArgument, "settings cannot be changed here: leave the SETTINGS clause out");
    }
    if (line.text.starts_with("TABLE_FUNCTION ")) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("table function {}: only tables can be read here",
                                                           member(line.text, "table_function_name: ")));
    }
    if (!line.text.starts_with("IDENTIFIER ")) continue;
    const std::string_view name = member(line.text, "identifier: ");
    const bool is_table = line.parent.ends_with("JOIN TREE") || line.parent.ends_with("TABLE EXPRESSION");
    // `x IN system.tables` names a table where a column could stand.
    const std::string_view first_part = name.substr(0, name.find('.'));
    const bool is_foreign_database =
        !is_table && name.contains('.') &&
        (first_part == "system" || first_part == "information_schema" || first_part == "INFORMATION_SCHEMA");
    if (is_foreign_database || (is_table && !readable.contains(name))) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("table {}: expected one of {}", name, fmt::join(Schema::published_names(), ", ")));
    }
  }
  return {};
}

// The engine's own words, without the class name in front and the version behind.
Error in_their_words(Error error) {
  if (error.code() != ErrorCode::kInvalidArgument && error.code() != ErrorCode::kNotFound) return error;
  std::string message = error.message();
  if (const std::size_t at = message.find("DB::Exception: "); at != std::string::npos) message.erase(0, at + 15);
  if (const std::size_t at = message.rfind(" (version "); at != std::string::npos) message.erase(at);
  return {ErrorCode::kInvalidArgument, message};
}

}  // namespace

Result<SqlResult> run_user_sql(Client& client, const Scope& scope, std::string_view query, SqlLimits limits,
                               const ReadOptions& options) {
  if (!scope.clients.empty()) {
    return fail(ErrorCode::kPermissionDenied, "SQL reaches every client of a workspace; yours is limited to some");
  }
  if (query.size() > kQueryBytesMax) {
    return fail(ErrorCode::kTooLarge, fmt::format("query: {} bytes, the limit is {}", query.size(), kQueryBytesMax));
  }
  while (!query.empty() && (std::isspace(static_cast<unsigned char>(query.back())) != 0 || query.back() == ';'))
    query.remove_suffix(1);
  std::string tree;
  StatementOptions explain = session(client, scope, limits, options);
  std::erase_if(explain.settings,
                [](const auto& setting) { return setting.first == "limit" || setting.first == "default_format"; });
  explain.settings.insert(explain.settings.begin(), {"default_format", "TSVRaw"});
  auto explained =
      client.stream(fmt::format("EXPLAIN QUERY TREE run_passes = 0 {}", query), explain, [&](std::string_view piece) {
        tree += piece;
        return tree.size() < 4 * 1024 * 1024;
      });
  if (!explained) return std::unexpected(in_their_words(std::move(explained).error()));
  if (auto ok = check_tree(tree, client.database()); !ok) return std::unexpected(std::move(ok).error());

  SqlResult result;
  std::string rest;
  int head_lines = 0;
  std::string failure;
  const auto line_done = [&](std::string_view line) {
    if (head_lines < 2) {
      boost::system::error_code error;
      const auto parsed = boost::json::parse(line, error);
      if (error || !parsed.is_array()) {
        failure = "leave FORMAT out";
        return false;
      }
      for (std::size_t i = 0; i < parsed.as_array().size(); ++i) {
        const auto text = std::string(parsed.as_array()[i].as_string());
        if (head_lines == 0) {
          result.columns.push_back({text, {}});
        } else if (i < result.columns.size()) {
          result.columns[i].type = text;
        }
      }
      ++head_lines;
      return true;
    }
    if (result.count == limits.rows_max || result.rows.size() + line.size() > limits.bytes_max) {
      result.truncated = true;
      return false;
    }
    if (result.count++ > 0) result.rows += ',';
    result.rows += line;
    return true;
  };
  auto done = client.stream(query, session(client, scope, limits, options), [&](std::string_view piece) {
    while (!piece.empty()) {
      const std::size_t end = piece.find('\n');
      if (end == std::string_view::npos) {
        rest += piece;
        return true;
      }
      rest += piece.substr(0, end);
      piece.remove_prefix(end + 1);
      if (!line_done(rest)) return false;
      rest.clear();
    }
    return true;
  });
  if (!failure.empty()) return fail(ErrorCode::kInvalidArgument, failure);
  if (!done && !result.truncated) return std::unexpected(in_their_words(std::move(done).error()));
  return result;
}

}  // namespace fettle::telemetry
