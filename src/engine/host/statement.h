// What a request's SQL is, found by reading its tokens and nothing more: the engine parses it, we only need to know
// where it ends, whether it carries data, and whether it names what no caller may name.
//
// The reader is stricter than the engine's where the two might disagree about where a string or comment ends, because
// a ';' that only one of them sees would be a second statement.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace fettle::engine_host {

enum class StatementKind : std::uint8_t {
  kSelect,        // SELECT, WITH: can be streamed
  kRead,          // SHOW, DESCRIBE, EXISTS, EXPLAIN: reads, but not as a stream
  kInsertData,    // INSERT whose rows come with the request
  kInsertSelect,  // INSERT … SELECT
  kSession,       // SET, USE, temporary tables: changes the session it runs in
  kOther,         // everything else: CREATE, ALTER, SYSTEM, …
};

struct Statement {
  StatementKind kind = StatementKind::kOther;
  std::string text;    // the one statement, without a final ';' and without inline data
  std::string format;  // named by FORMAT, or empty
  // For kInsertData: the rows that stood in the SQL text after FORMAT or VALUES.
  std::string inline_data;

  // For kInsertData: where FROM INFILE and SETTINGS may be put into `text`, and whether a SETTINGS clause stands there.
  std::size_t splice_at = 0;
  bool has_settings = false;
  bool has_token = false;
  bool has_format = false;
};

// kInvalidArgument: empty, more than one statement, unterminated quotes, or something no caller may use (a file of
// the host, by FROM INFILE or INTO OUTFILE). The message is for the caller.
Result<Statement> parse_statement(std::string_view sql);

// The INSERT that reads its rows from `path`. `compression` is a content encoding ("gzip", "zstd") or empty; `token`
// is added unless the statement has one of its own; `default_format` is used when the statement names none.
std::string insert_from_file(const Statement& insert, std::string_view path, std::string_view compression,
                             std::string_view token, std::string_view default_format);

// Lower-case names of all functions called or applied to columns, of quoted names too: `merge`, `count`.
std::vector<std::string> function_names(std::string_view sql);

// The names that follow `database` and a dot, as they are written.
std::vector<std::string> names_in(std::string_view sql, std::string_view database);

// True when `name` (lower case) stands somewhere as a word or quoted name, whatever its role; never inside a literal or
// comment.
bool mentions(std::string_view sql, std::string_view name);

// The statement with its literals replaced by '?', cut to `bytes_max`: fit for a log.
std::string without_literals(std::string_view sql, std::size_t bytes_max);

// `text` as a SQL string literal.
std::string quote(std::string_view text);

}  // namespace fettle::engine_host
