// What a decoded request goes through before it is stored: content policy, masking, identifiers, usage of models.
#include <gtest/gtest.h>

#include <ostream>

#include "ingest/attribute_keys.h"
#include "ingest/content_policy.h"
#include "ingest/llm_usage.h"
#include "ingest/masking.h"
#include "ingest/request_for_test.h"
#include "ingest/resolve.h"

namespace fettle::ingest {
namespace {

constexpr std::string_view kCatalogue = R"(
identifiers:
  - {number: 1, name: client_id, aliases: [clientId], column: true, low_cardinality: true}
  - {number: 2, name: job_id, aliases: [jobId, messaging.message.id], column: true, index: trace}
  - {number: 3, name: model, aliases: [gen_ai.response.model, gen_ai.request.model], column: true, low_cardinality: true}
)";

class Cleaning : public testing::Test {
 protected:
  Cleaning() {
    auto parsed = telemetry::IdentifierCatalogue::parse(kCatalogue);
    if (!parsed) ADD_FAILURE() << parsed.error().message();
    identifiers = std::make_unique<telemetry::IdentifierCatalogue>(*std::move(parsed));
    redactor = *redact::Redactor::compile();
    keys = std::make_unique<AttributeKeys>(*identifiers, *redactor);
  }

  std::unique_ptr<telemetry::IdentifierCatalogue> identifiers;
  std::shared_ptr<const redact::Redactor> redactor;
  std::unique_ptr<AttributeKeys> keys;
  std::vector<const KeyInfo*> infos;
};

otlp::Traces one_span(const std::vector<otlp::Attribute>& attributes) {
  otlp::Traces request;
  request.resources.emplace_back();
  request.scopes.emplace_back();
  request.spans.emplace_back().attributes = add_attributes(request, attributes);
  return request;
}

otlp::Logs one_log(int severity, std::string_view environment, const std::vector<otlp::Attribute>& attributes) {
  otlp::Logs request;
  request.resources.emplace_back().attributes = add_attributes(request, {{"deployment.environment.name", text_value(environment)}});
  request.scopes.emplace_back();
  otlp::LogRecord& record = request.records.emplace_back();
  record.severity_number = severity;
  record.attributes = add_attributes(request, attributes);
  return request;
}

TEST_F(Cleaning, ContentIsDroppedFromSpansUnlessTheWorkspaceKeepsIt) {
  ContentPolicy policy;
  policy.by_workspace = {{"keeps", ContentMode::kKeep}, {"hashes", ContentMode::kHash}};
  const auto apply = [&](std::string_view workspace) {
    otlp::Traces request = one_span({{"a", int_value(1)}, {"gen_ai.input.messages", text_value("hello")},
                                     {"gen_ai.prompt.0.content", text_value("hi")}, {"gen_ai.prompt.name", text_value("greeting")},
                                     {"z", int_value(2)}});
    keys->look_up(request, infos);
    apply_content_policy(policy, workspace, infos, request);
    return request;
  };
  const otlp::Traces dropped = apply("default");
  EXPECT_EQ(keys_of(dropped, dropped.spans[0].attributes), "a gen_ai.prompt.name z");
  const otlp::Traces kept = apply("keeps");
  EXPECT_EQ(value_of(kept, kept.spans[0].attributes, "gen_ai.input.messages"), "hello");
  const otlp::Traces hashed = apply("hashes");
  EXPECT_EQ(value_of(hashed, hashed.spans[0].attributes, "gen_ai.input.messages"),
            "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 bytes:5");
}

TEST_F(Cleaning, InfosStillSpeakOfTheAttributesAfterContentIsGone) {
  otlp::Traces request = one_span({{"prompt", text_value("x")}, {"job_id", text_value("j1")}});
  keys->look_up(request, infos);
  apply_content_policy({}, "default", infos, request);
  IdentifierResolver resolver;
  resolver.begin(request, infos);
  telemetry::ResolvedIds ids;
  resolver.resolve(request.spans[0].attributes, 0, 0, ids);
  EXPECT_EQ(ids.get(2), "j1");
}

TEST_F(Cleaning, LegacyContentEventsLoseTheirAttributes) {
  otlp::Traces request = one_span({});
  otlp::Event& event = request.events.emplace_back();
  event.name = "gen_ai.user.message";
  event.attributes = add_attributes(request, {{"content", text_value("secret plan")}});
  request.spans[0].events = {0, 1};
  keys->look_up(request, infos);
  apply_content_policy({}, "default", infos, request);
  EXPECT_EQ(request.events[0].attributes.count, 0U);
}

struct LogContentCase {
  const char* environment;
  int severity;
  bool kept;
};
void PrintTo(const LogContentCase& log, std::ostream* out) { *out << log.environment << ' ' << log.severity; }
class LogContent : public Cleaning, public testing::WithParamInterface<LogContentCase> {};
TEST_P(LogContent, IsKeptAtDebugOutsideProductionAlone) {
  ContentPolicy policy;
  policy.otherwise = ContentMode::kKeep;
  otlp::Logs request = one_log(GetParam().severity, GetParam().environment, {{"prompt", text_value("text")}, {"a", int_value(1)}});
  keys->look_up(request, infos);
  EXPECT_EQ(apply_content_policy(policy, "default", infos, request), 0U);
  EXPECT_EQ(keys_of(request, request.records[0].attributes), GetParam().kept ? "prompt a" : "a");
}
INSTANTIATE_TEST_SUITE_P(Table, LogContent,
                         testing::Values(LogContentCase{"staging", 5, true}, LogContentCase{"staging", 8, true},
                                         LogContentCase{"staging", 9, false}, LogContentCase{"staging", 4, false},
                                         LogContentCase{"staging", 0, false}, LogContentCase{"production", 5, false},
                                         LogContentCase{"Production", 5, false}, LogContentCase{"prod", 5, false}));

TEST_F(Cleaning, ALogRecordThatIsNothingButContentIsRemovedAndCounted) {
  otlp::Logs request = one_log(9, "staging", {});
  request.records[0].event_name = "gen_ai.user.message";
  request.records[0].body = text_value("please do");
  request.records.push_back(request.records[0]);
  request.records[1].event_name = "job_started";
  keys->look_up(request, infos);
  EXPECT_EQ(apply_content_policy({}, "default", infos, request), 1U);
  ASSERT_EQ(request.records.size(), 1U);
  EXPECT_EQ(request.records[0].event_name, "job_started");
}

TEST_F(Cleaning, ContentNestedInAStructuredBodyIsDropped) {
  otlp::Logs request = one_log(9, "staging", {});
  const otlp::Range nested = add_attributes(request, {{"prompt", text_value("text")}, {"tokens", int_value(3)}});
  request.records[0].body.type = otlp::ValueType::kMap;
  request.records[0].body.first = nested.first;
  request.records[0].body.size = nested.count;
  keys->look_up(request, infos);
  apply_content_policy({}, "default", infos, request);
  EXPECT_EQ(keys_of(request, request.records[0].body.children()), "tokens");
}

TEST_F(Cleaning, MaskingReachesEveryKindOfField) {
  constexpr std::string_view kSecret = "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB";
  otlp::Traces request = one_span({{"note", text_value(kSecret)}, {"password", text_value("hunter2")}, {"api_key", int_value(123456)},
                                   {"card", int_value(4'111'111'111'111'111)}, {"fine", text_value("nothing here")}});
  const otlp::Range nested = add_attributes(request, {{"inner", text_value(kSecret)}});
  otlp::Attribute map{"outer", {}};
  map.value.type = otlp::ValueType::kMap;
  map.value.first = nested.first;
  map.value.size = 1;
  request.values.push_back(text_value(kSecret));
  otlp::Attribute array{"list", {}};
  array.value.type = otlp::ValueType::kArray;
  array.value.size = 1;
  otlp::Event& event = request.events.emplace_back();
  event.name = kSecret;
  event.attributes = add_attributes(request, {map, array, {kSecret, int_value(1)}});
  otlp::Span& span = request.spans[0];
  span.name = kSecret;
  span.status_message = kSecret;
  span.trace_state = kSecret;
  request.scopes[0].name = kSecret;
  request.resources[0].schema_url = kSecret;
  request.resources[0].attributes = add_attributes(request, {{"db.url", text_value("postgres://app:hunter2@db/x")}});

  keys->look_up(request, infos);
  Masking masking(redactor);
  redact::RuleCounts counts;
  masking.apply(request, infos, counts);

  std::string all;
  for (const std::string_view text : {span.name, span.status_message, span.trace_state, event.name, request.scopes[0].name,
                                      request.resources[0].schema_url}) {
    all += text;
  }
  for (const otlp::Attribute& attribute : request.attributes) {
    all += attribute.key;
    otlp::append_text(all, request, attribute.value);
  }
  for (const char* secret : {"ghp_0123", "hunter2", "123456,", "4111111111111111"}) {
    EXPECT_EQ(all.find(secret), std::string::npos) << secret << " in " << all;
  }
  EXPECT_EQ(value_of(request, span.attributes, "api_key").find("123456"), std::string::npos);
  EXPECT_EQ(value_of(request, span.attributes, "fine"), "nothing here");
}

TEST_F(Cleaning, TheNearestAttributeAndTheBestAliasNameAnIdentifier) {
  otlp::Traces request = one_span({{"gen_ai.request.model", text_value("asked")}, {"gen_ai.response.model", text_value("used")},
                                   {"jobId", int_value(17)}, {"clientId", text_value("from-span")}});
  request.resources[0].attributes = add_attributes(request, {{"client_id", text_value("from-resource")}, {"job_id", text_value("r")}});
  keys->look_up(request, infos);
  IdentifierResolver resolver;
  resolver.begin(request, infos);
  telemetry::ResolvedIds ids;
  resolver.resolve(request.spans[0].attributes, 0, 0, ids);
  EXPECT_EQ(ids.get(1), "from-span");
  EXPECT_EQ(ids.get(2), "17");
  EXPECT_EQ(ids.get(3), "used");
  resolver.resolve({}, 0, 0, ids);
  EXPECT_EQ(ids.get(1), "from-resource");
  EXPECT_FALSE(ids.has(3));
}

TEST_F(Cleaning, OnlyInferenceCallsHaveUsage) {
  const auto usage_of = [&](const std::vector<otlp::Attribute>& attributes) {
    const otlp::Traces request = [&] {
      otlp::Traces made = one_span(attributes);
      keys->look_up(made, infos);
      return made;
    }();
    return read_llm_usage(request, request.spans[0], infos);
  };
  const auto chat = usage_of({{"gen_ai.operation.name", text_value("chat")}, {"gen_ai.request.model", text_value("m")},
                              {"gen_ai.usage.input_tokens", int_value(10)}, {"gen_ai.usage.output_tokens", text_value("5")}});
  ASSERT_TRUE(chat);
  EXPECT_EQ(chat->input_tokens, 10U);
  EXPECT_EQ(chat->output_tokens, 5U);
  EXPECT_EQ(chat->model(), "m");
  EXPECT_FALSE(usage_of({{"gen_ai.operation.name", text_value("invoke_agent")}, {"gen_ai.request.model", text_value("m")},
                         {"gen_ai.usage.input_tokens", int_value(10)}}));
  EXPECT_FALSE(usage_of({{"gen_ai.operation.name", text_value("execute_tool")}}));
  EXPECT_FALSE(usage_of({{"gen_ai.request.model", text_value("m")}}));
  EXPECT_FALSE(usage_of({{"gen_ai.usage.input_tokens", int_value(10)}}));
}

}  // namespace
}  // namespace fettle::ingest
