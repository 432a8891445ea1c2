#include "telemetry/user_sql.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cctype>
#include <functional>
#include <set>
#include <vector>

#include "telemetry/schema.h"

namespace fettle::telemetry {
namespace {

constexpr std::size_t kQueryBytesMax = 64 * 1024;
constexpr std::size_t kTreeBytesMax = 4 * 1024 * 1024;
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

// Functions, by how they begin, that tell of a column as it is stored, with what other workspaces have put into it, or
// that hold a reading thread without working.
constexpr auto kFunctionsRefused =
    std::to_array<std::string_view>({"sleep", "distinctjsonpaths", "distinctdynamictypes", "lowcardinalitykeys",
                                     "lowcardinalityindices", "dumpcolumnstructure"});
// Columns that every table has: they tell how the rows of all workspaces lie together.
constexpr auto kColumnsRefused = std::to_array<std::string_view>({"_part", "_block", "_partition", "_row", "_sample"});

constexpr std::string_view kNameKey = ", identifier: ";
constexpr std::string_view kFunctionKey = "function_name: ";
constexpr std::string_view kCteKey = ", cte_name: ";
constexpr std::string_view kCteMark = ", is_subquery: 1, is_cte: 1, ";
constexpr std::string_view kUnionKey = ", union_mode: ";

struct TreeLine {
  std::size_t indent = 0;
  std::string_view text;
  std::string_view attributes;  // what follows "KIND id: 7"; nothing of a heading
  std::string_view parent;      // the nearest line above that is indented less
};

constexpr auto kHeadingsWithText =
    std::to_array<std::string_view>({"EXPRESSION ", "REPLACEMENTS ", "REPLACEMENT NAME ", "SETTINGS"});

bool is_heading_char(char c) { return (c >= 'A' && c <= 'Z') || c == '_' || c == ' '; }

// The lines of a query tree. The engine writes names and patterns into it as they are, line ends and all, so somebody
// may try to write lines of his own. That cannot go unseen: nodes are numbered in order, every other line is a heading
// from a short list, and behind whatever a person wrote stands one more node of ours.
Result<std::vector<TreeLine>> lines_of(std::string_view tree) {
  std::vector<TreeLine> lines;
  std::vector<TreeLine> open;
  std::size_t nodes = 0;
  while (!tree.empty()) {
    const std::size_t end = std::min(tree.find('\n'), tree.size());
    const std::string_view line = tree.substr(0, end);
    tree.remove_prefix(std::min(end + 1, tree.size()));
    TreeLine read;
    read.indent = std::min(line.find_first_not_of(' '), line.size());
    read.text = line.substr(read.indent);
    const auto heading_end = std::ranges::find_if_not(read.text, is_heading_char);
    std::string_view rest = read.text.substr(static_cast<std::size_t>(heading_end - read.text.begin()));
    bool is_known = rest.empty();
    if (rest.starts_with("id: ")) {
      const std::string number = fmt::format("id: {}", nodes++);
      is_known = rest.starts_with(number) && (rest.size() == number.size() || rest[number.size()] == ',');
      rest.remove_prefix(std::min(number.size(), rest.size()));
      read.attributes = rest;
    } else if (!is_known) {
      // What would follow the part of a torn line is not for a heading.
      is_known =
          std::ranges::any_of(kHeadingsWithText, [&](std::string_view it) { return read.text.starts_with(it); }) &&
          !rest.contains(kNameKey) && !rest.contains(kFunctionKey);
    }
    if (!is_known) {
      return fail(ErrorCode::kInvalidArgument, "a name or pattern in the query cannot be read: leave line ends out");
    }
    while (!open.empty() && open.back().indent >= read.indent) open.pop_back();
    if (!open.empty()) read.parent = open.back().text;
    lines.push_back(read);
    open.push_back(read);
  }
  return lines;
}

// The name that WITH gives to this query; empty when it gives none. An alias would stand before the mark, so that
// nobody can write the mark himself.
std::string_view cte_name(const TreeLine& line) {
  const bool is_union = line.text.starts_with("UNION ");
  if ((!is_union && !line.text.starts_with("QUERY ")) || !line.attributes.starts_with(kCteMark)) return {};
  // All before the key are words of the engine's own.
  const std::size_t at = line.attributes.find(kCteKey);
  if (at == std::string_view::npos) return {};
  std::string_view name = line.attributes.substr(at + kCteKey.size());
  if (is_union) name = name.substr(0, name.rfind(kUnionKey));
  // No table of another database, and nothing that could be taken for more than a name.
  return name.find_first_of(".,:") == std::string_view::npos ? name : std::string_view{};
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

Result<void> check_functions(std::string_view attributes) {
  // An alias may hold the key too; one of the names is then the true one.
  for (std::size_t at = attributes.find(kFunctionKey); at != std::string_view::npos;
       at = attributes.find(kFunctionKey, at + 1)) {
    const std::string_view rest = attributes.substr(at + kFunctionKey.size());
    const std::string name = lower(rest.substr(0, rest.find(',')));
    for (const std::string_view refused : kFunctionsRefused) {
      if (name.starts_with(refused)) {
        return fail(ErrorCode::kInvalidArgument, fmt::format("function {}: not available here", name));
      }
    }
  }
  return {};
}

// The tree before any pass: nothing has been resolved or run, so a subquery that would become a constant is still here.
Result<void> check_tree(std::string_view tree, const std::string& database) {
  const auto read = lines_of(tree);
  if (!read) return std::unexpected(read.error());
  const std::vector<TreeLine>& lines = *read;
  std::set<std::string, std::less<>> readable = {"system.one"};  // what a SELECT without FROM reads
  for (const std::string& table : Schema::published_names()) {
    readable.insert(table);
    readable.insert(database + "." + table);
  }
  for (const TreeLine& line : lines) {
    if (const std::string_view name = cte_name(line); !name.empty()) readable.emplace(name);
  }
  for (const TreeLine& line : lines) {
    // In a subquery they reach the engine unchecked, and one of them says whose rows are seen.
    if (line.text.starts_with("SETTINGS")) {
      return fail(ErrorCode::kInvalidArgument, "settings cannot be changed here: leave the SETTINGS clause out");
    }
    if (line.text.starts_with("TABLE_FUNCTION ")) {
      return fail(ErrorCode::kInvalidArgument, "only tables can be read here, not table functions");
    }
    if (auto checked = check_functions(line.attributes); !checked) return checked;
    if (!line.text.starts_with("IDENTIFIER ")) continue;
    const std::size_t at = line.attributes.find(kNameKey);
    if (at == std::string_view::npos || at != line.attributes.rfind(kNameKey)) {
      return fail(ErrorCode::kInvalidArgument, "a name in the query cannot be read: leave ', identifier: ' out");
    }
    std::string_view name = line.attributes.substr(at + kNameKey.size());
    name = name.substr(0, name.find(','));
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
    const std::string_view last_part = name.substr(name.rfind('.') + 1);
    if (std::ranges::any_of(kColumnsRefused, [&](std::string_view begin) { return last_part.starts_with(begin); })) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("column {}: not available here", last_part));
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
      // In brackets, so that the query cannot begin with settings of EXPLAIN's own; the LIMIT is for lines_of().
      client.stream(fmt::format("EXPLAIN QUERY TREE run_passes = 0 SELECT * FROM ({}\n) LIMIT 1", query), explain,
                    [&](std::string_view piece) {
                      tree += piece;
                      return tree.size() <= kTreeBytesMax;
                    });
  if (tree.size() > kTreeBytesMax) return fail(ErrorCode::kTooLarge, "the query has too many parts");
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
