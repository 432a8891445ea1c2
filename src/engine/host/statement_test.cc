#include "engine/host/statement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fettle::engine_host {
namespace {

using ::testing::ElementsAre;

StatementKind kind_of(std::string_view sql) {
  auto statement = parse_statement(sql);
  EXPECT_TRUE(statement) << sql;
  return statement ? statement->kind : StatementKind::kOther;
}

TEST(Statement, KindIsToldByItsFirstWords) {
  EXPECT_EQ(kind_of("select 1"), StatementKind::kSelect);
  EXPECT_EQ(kind_of(" /* hm */ -- well\n ( SELECT 1) UNION ALL (SELECT 2)"), StatementKind::kSelect);
  EXPECT_EQ(kind_of("WITH x AS (SELECT 1) SELECT * FROM x"), StatementKind::kSelect);
  EXPECT_EQ(kind_of("SHOW TABLES"), StatementKind::kRead);
  EXPECT_EQ(kind_of("explain select 1"), StatementKind::kRead);
  EXPECT_EQ(kind_of("INSERT INTO t VALUES (1)"), StatementKind::kInsertData);
  EXPECT_EQ(kind_of("INSERT INTO t SELECT 1"), StatementKind::kInsertSelect);
  EXPECT_EQ(kind_of("INSERT INTO t (a) WITH 1 AS x SELECT x"), StatementKind::kInsertSelect);
  EXPECT_EQ(kind_of("SET a = 1"), StatementKind::kSession);
  EXPECT_EQ(kind_of("CREATE TEMPORARY TABLE t (a UInt8)"), StatementKind::kSession);
  EXPECT_EQ(kind_of("CREATE TABLE t (a UInt8)"), StatementKind::kOther);
  EXPECT_EQ(kind_of("selectx"), StatementKind::kOther);
}

TEST(Statement, FinalSemicolonIsCutOffAndAnythingBehindItIsRefused) {
  EXPECT_EQ(parse_statement("SELECT 1 ;; \n-- the end")->text, "SELECT 1 ");
  for (const char* sql : {
           "SELECT 1; SELECT 2",
           "SELECT 1;;DROP TABLE t",
           "SELECT ';' ; DROP TABLE t",
           "SELECT 'a\\'' ; DROP TABLE t",
           "SELECT 'a''b' ; DROP TABLE t",
           "SELECT 1 -- ' \n; DROP TABLE t",
           "SELECT 1 // ' \n; DROP TABLE t --'",
           "SELECT 1 # ' \n; DROP TABLE t --'",
           "SELECT 1 /* ' */; DROP TABLE t --'",
           "SELECT $a$ ' $a$; DROP TABLE t --'",
           "SELECT `'`; DROP TABLE t --'",
           "INSERT INTO t SELECT 1; DROP TABLE t",
           "INSERT INTO t; DROP TABLE t",
       }) {
    EXPECT_FALSE(parse_statement(sql)) << sql;
  }
  for (const char* sql :
       {"SELECT ';'", "SELECT `;`", "SELECT \";\"", "SELECT 1 /* ; */", "SELECT $$ ; $$", "SELECT 1 -- ;"}) {
    EXPECT_TRUE(parse_statement(sql)) << sql;
  }
}

TEST(Statement, DoubtfulExtentIsRefused) {
  for (const char* sql : {
           "",
           " ; ",
           "SELECT 'open",
           "SELECT `open",
           "SELECT 1 /* open",
           "SELECT 1 /* a /* b */ c */",  // the engine nests comments
           "SELECT \xE2\x80\x98;\xE2\x80\x99",
           "SELECT $a; b$ $a; b$",
           "SELECT x'\\'; DROP TABLE t --'",  // no escapes in a literal with a prefix
           "SELECT 1 SETTINGS `log\\x5fcomment` = '*'",
           "SELECT \"a\\\\b\"",
           "SELECT 1 AS `a\nb`",
       }) {
    const auto statement = parse_statement(sql);
    ASSERT_FALSE(statement) << sql;
    EXPECT_EQ(statement.error().code(), ErrorCode::kInvalidArgument);
  }
}

TEST(Statement, FilesOfTheHostAreRefused) {
  EXPECT_FALSE(parse_statement("SELECT 1 INTO OUTFILE '/x'"));
  EXPECT_FALSE(parse_statement("SELECT 1 into /* */ outfile '/x'"));
  EXPECT_FALSE(parse_statement("INSERT INTO t FROM INFILE '/x' FORMAT CSV"));
  EXPECT_FALSE(parse_statement("INSERT INTO t (a) FROM  infile '/x' FORMAT CSV"));
}

TEST(Statement, FormatIsTheOneAtTheEnd) {
  EXPECT_EQ(parse_statement("SELECT 1 FORMAT JSON")->format, "JSON");
  EXPECT_EQ(parse_statement("SELECT 1 format CSVWithNames SETTINGS max_threads = 1;")->format, "CSVWithNames");
  EXPECT_EQ(parse_statement("SELECT format FROM t")->format, "");
  EXPECT_EQ(parse_statement("SELECT 'FORMAT JSON'")->format, "");
  EXPECT_EQ(parse_statement("SELECT * FROM (SELECT 1 FORMAT JSON)")->format, "");
}

TEST(Statement, RowsBehindFormatAreDataWhateverTheyHold) {
  const auto csv = parse_statement("INSERT INTO t (a, `format`) FORMAT CSV\n1,';--'\n2,\"/*\"\n");
  ASSERT_TRUE(csv);
  EXPECT_EQ(csv->format, "CSV");
  EXPECT_EQ(csv->text, "INSERT INTO t (a, `format`) FORMAT CSV");
  EXPECT_EQ(csv->inline_data, "1,';--'\n2,\"/*\"\n");
  const auto values = parse_statement("INSERT INTO values VALUES (1, ';'), (2, 'x')");
  ASSERT_TRUE(values);
  EXPECT_EQ(values->text, "INSERT INTO values ");
  EXPECT_EQ(values->inline_data, " (1, ';'), (2, 'x')");
  EXPECT_EQ(parse_statement("INSERT INTO FUNCTION null('a String') FORMAT CSV x")->inline_data, "x");
}

TEST(Statement, InsertReadsItsRowsFromTheFile) {
  const auto spliced = [](std::string_view sql, std::string_view compression = "", std::string_view token = "") {
    return insert_from_file(*parse_statement(sql), "/f", compression, token, "CSV");
  };
  EXPECT_EQ(spliced("INSERT INTO d.t (a) FORMAT Native"), "INSERT INTO d.t (a)  FROM INFILE '/f' FORMAT Native");
  EXPECT_EQ(
      spliced("INSERT INTO t FORMAT Native", "gzip", "k'1"),
      "INSERT INTO t  FROM INFILE '/f' COMPRESSION 'gzip' SETTINGS insert_deduplication_token = 'k\\'1' FORMAT Native");
  EXPECT_EQ(spliced("INSERT INTO t SETTINGS a = 1 FORMAT Native", "", "k"),
            "INSERT INTO t  FROM INFILE '/f' SETTINGS insert_deduplication_token = 'k',  a = 1 FORMAT Native");
  EXPECT_EQ(spliced("INSERT INTO t SETTINGS insert_deduplication_token = 'own' FORMAT Native", "", "k"),
            "INSERT INTO t  FROM INFILE '/f' SETTINGS insert_deduplication_token = 'own' FORMAT Native");
  EXPECT_EQ(spliced("INSERT INTO t VALUES (1)"), "INSERT INTO t  FROM INFILE '/f'  FORMAT Values");
  EXPECT_EQ(spliced("INSERT INTO t"), "INSERT INTO t FROM INFILE '/f'  FORMAT CSV");
}

TEST(Statement, FunctionsAreFoundHoweverTheyAreWritten) {
  EXPECT_THAT(
      function_names("SELECT Merge ('d', 't'), `mergeTreeIndex`/* */(1), \"url\"(2), 'file(3)', x FROM remote\n(4)"),
      ElementsAre("merge", "mergetreeindex", "url", "remote"));
  EXPECT_THAT(function_names("SELECT * APPLY(Sleep), * APPLY sleepEachRow, * APPLY (x -> sin(x)), y"),
              ElementsAre("apply", "sleep", "sleepeachrow", "apply", "x", "sin"));
}

TEST(Statement, NamesInADatabaseAreFoundHoweverTheyAreWritten) {
  EXPECT_THAT(names_in("SELECT system.a, `system` /* */ . \"b c\" FROM x.system.d, 'system.e', system f", "system"),
              ElementsAre("a", "b c", "d"));
}

TEST(Statement, LogsHoldNoLiterals) {
  EXPECT_EQ(without_literals("SELECT * FROM t WHERE mail = 'a@b' AND n = 17", 200),
            "SELECT * FROM t WHERE mail = ? AND n = ?");
  EXPECT_EQ(without_literals("SELECT abcdef", 9), "SELECT ab");
}

TEST(Mentions, FindsWordsAndQuotedNamesButNoLiterals) {
  EXPECT_TRUE(mentions("SELECT 1 FROM (SELECT 1 SETTINGS log_comment = '*')", "settings"));
  EXPECT_TRUE(mentions("set LOG_COMMENT='*'", "log_comment"));
  EXPECT_TRUE(mentions("SELECT `settings` FROM t", "settings"));
  EXPECT_FALSE(mentions("SELECT getSetting('log_comment'), 'settings' /* settings */ -- settings", "settings"));
  EXPECT_FALSE(mentions("SELECT getSetting('log_comment')", "log_comment"));
  EXPECT_FALSE(mentions("SELECT settings_count FROM t", "settings"));
}

}  // namespace
}  // namespace fettle::engine_host
