#include "telemetry/identifiers.h"

#include <gtest/gtest.h>

#include <set>

#include "telemetry/testing.h"

namespace fettle::telemetry {
namespace {

std::string kind_of(const IdentifierCatalogue& catalogue, std::string_view key) {
  const IdentifierAlias* alias = catalogue.find(key);
  return alias == nullptr ? "" : catalogue.by_kind(alias->kind)->name;
}

TEST(Identifiers, ShippedAliasesMeanWhatTheConventionsSay) {
  const IdentifierCatalogue catalogue = shipped_catalogue();
  const std::pair<std::string_view, std::string_view> kCases[] = {
      {"client_id", "client_id"},
      {"clientId", "client_id"},
      {"fettle.client_id", "client_id"},
      {"requestId", "request_id"},
      {"http.request.header.x-request-id", "request_id"},
      {"messaging.message.conversation_id", "correlation_id"},
      {"gen_ai.request.model", "model"},
      {"gen_ai.response.model", "model"},
      {"gen_ai.system", "provider"},
      {"gen_ai.provider.name", "provider"},
      {"gen_ai.agent.name", "agent"},
      {"gen_ai.tool.name", "tool_id"},
      {"tool_name", "tool_id"},
      {"gen_ai.conversation.id", "episode_id"},
      {"error.type", "error_code"},
      {"automation_type", "workflow"},
      {"messaging.message.id", "job_id"},
      {"enduser.id", "actor_id"},
      {"http.request.method", ""},
      {"", ""},
      {"client_idx", ""},
  };
  for (const auto& [key, kind] : kCases) EXPECT_EQ(kind_of(catalogue, key), kind) << key;
}

TEST(Identifiers, TheModelThatAnsweredGoesBeforeTheModelThatWasAskedFor) {
  const IdentifierCatalogue catalogue = shipped_catalogue();
  EXPECT_LT(catalogue.find("gen_ai.response.model")->rank, catalogue.find("gen_ai.request.model")->rank);
  EXPECT_EQ(catalogue.find("model")->rank, 0);
  EXPECT_LT(catalogue.find("gen_ai.provider.name")->rank, catalogue.find("gen_ai.system")->rank);
}

TEST(Identifiers, EveryNameOfTheArchitectureIsInTheShippedCatalogue) {
  const IdentifierCatalogue catalogue = shipped_catalogue();
  for (const std::string_view name :
       {"request_id", "correlation_id", "trace_id",     "span_id",  "client_id", "platform",           "surface",
        "lane",       "execution_lane", "blueprint_id", "plan_id",  "asset_id",  "calendar_item_id",   "episode_id",
        "job_id",     "run_id",         "step_id",      "tool_id",  "runner_id", "runner_pool",        "ticket_id",
        "workflow",   "agent",          "actor_type",   "actor_id", "role",      "policy_snapshot_id", "error_code",
        "model",      "provider"}) {
    EXPECT_NE(catalogue.by_name(name), nullptr) << name;
  }
  // The trace id is a column of its own, beside those of the catalogue.
  EXPECT_FALSE(catalogue.by_name("trace_id")->is_column);
  EXPECT_EQ(catalogue.by_name("trace_id")->index, IdentifierIndex::kTrace);
}

TEST(Identifiers, MistakesAreRefusedWithTheirLine) {
  const std::pair<std::string_view, std::string_view> kCases[] = {
      {"identifiers:\n  - {number: 1, name: a}\n  - {number: 1, name: b}\n", "line 3"},
      {"identifiers:\n  - {number: 1, name: a}\n  - {number: 2, name: a}\n", "line 3"},
      {"identifiers:\n  - {number: 64, name: a}\n", "line 2"},
      {"identifiers:\n  - {number: 1, name: a, colour: red}\n", "line 2"},
      {"identifiers:\n  - {number: 1, name: 'a b'}\n", "line 2"},
      {"identifiers:\n  - {number: 1, name: a, index: sometimes}\n", "line 2"},
      {"identifiers:\n  - {number: 1, name: a, rollup: true}\n", "line 2"},
      {"identifiers:\n  - {number: 1, name: a, aliases: [x]}\n  - {number: 2, name: b, aliases: [x]}\n", "line 3"},
      {"identifiers: [\n", "line"},
      {"names: []\n", "line 1"},
  };
  for (const auto& [yaml, where] : kCases) {
    const auto catalogue = IdentifierCatalogue::parse(yaml);
    ASSERT_FALSE(catalogue) << yaml;
    EXPECT_EQ(catalogue.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(catalogue.error().message().find(where), std::string::npos) << catalogue.error().message();
  }
}

TEST(Identifiers, ResolvedValuesAreVisitedInOrderAndEmptyOnesAreNot) {
  ResolvedIds ids;
  ids.set(30, "thirty");
  ids.set(2, "two");
  ids.set(5, "");
  std::vector<std::pair<int, std::string>> seen;
  ids.for_each([&](IdentifierKind kind, std::string_view value) { seen.emplace_back(kind, value); });
  EXPECT_EQ(seen, (std::vector<std::pair<int, std::string>>{{2, "two"}, {30, "thirty"}}));
  ids.clear();
  EXPECT_EQ(ids.get(2), "");
}

TEST(Identifiers, OnlyNamesOfTheCatalogueKeepATrace) {
  const IdentifierCatalogue catalogue = shipped_catalogue();
  EXPECT_TRUE(catalogue.is_keep_name("escalation"));
  EXPECT_TRUE(catalogue.is_keep_name("approval.requested"));
  EXPECT_FALSE(catalogue.is_keep_name("escalatiom"));
  EXPECT_FALSE(catalogue.is_keep_name(""));
}

}  // namespace
}  // namespace fettle::telemetry
