// What a decoded request goes through before it is stored: content policy, masking, identifiers, usage of models.
#include <gtest/gtest.h>

#include <algorithm>
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
  request.resources.emplace_back().attributes =
      add_attributes(request, {{"deployment.environment.name", text_value(environment)}});
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
    otlp::Traces request = one_span({{"a", int_value(1)},
                                     {"gen_ai.input.messages", text_value("hello")},
                                     {"gen_ai.prompt.0.content", text_value("hi")},
                                     {"gen_ai.prompt.name", text_value("greeting")},
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

TEST_F(Cleaning, ContentIsKnownByTheKeysOfCommonConventions) {
  for (const char* key :
       {"gen_ai.input.messages", "gen_ai.prompt", "gen_ai.prompt.0.content", "llm.prompts.0.content", "input.value",
        "output.value", "llm.input_messages.0.message.content", "langfuse.observation.input",
        "langfuse.observation.output", "traceloop.entity.input", "ai.prompt.messages", "mlflow.spanInputs", "prompt"}) {
    EXPECT_TRUE(is_content_key(key)) << key;
  }
  for (const char* key :
       {"", "gen_ai.prompt.name", "gen_ai.prompts", "input", "output", "input.value_count", "input.mime_type",
        "langfuse.observation.type", "prompt_tokens", "llm.model_name", "db.statement", "gen_ai.usage.input_tokens"}) {
    EXPECT_FALSE(is_content_key(key)) << key;
  }
}

TEST_F(Cleaning, ContentIsDroppedFromResourcesScopesAndMetricsToo) {
  const std::vector<otlp::Attribute> list = {{"gen_ai.prompt", text_value("text")}, {"a", int_value(1)}};
  otlp::Traces spans = one_span(list);
  spans.resources[0].attributes = add_attributes(spans, list);
  spans.scopes[0].attributes = add_attributes(spans, list);
  keys->look_up(spans, infos);
  apply_content_policy({}, "default", infos, spans);
  EXPECT_EQ(keys_of(spans, spans.resources[0].attributes), "a");
  EXPECT_EQ(keys_of(spans, spans.scopes[0].attributes), "a");

  ContentPolicy keeps;
  keeps.otherwise = ContentMode::kKeep;
  otlp::Logs logs = one_log(5, "staging", list);
  logs.scopes[0].attributes = add_attributes(logs, list);
  keys->look_up(logs, infos);
  apply_content_policy(keeps, "default", infos, logs);
  EXPECT_EQ(keys_of(logs, logs.scopes[0].attributes), "a") << "a scope is not of one severity";
  EXPECT_EQ(keys_of(logs, logs.records[0].attributes), "gen_ai.prompt a");

  otlp::Metrics metrics;
  metrics.resources.emplace_back().attributes = add_attributes(metrics, list);
  metrics.scopes.emplace_back().attributes = add_attributes(metrics, list);
  metrics.metrics.emplace_back().metadata = add_attributes(metrics, list);
  metrics.number_points.emplace_back().attributes = add_attributes(metrics, list);
  metrics.histogram_points.emplace_back().attributes = add_attributes(metrics, list);
  metrics.exponential_histogram_points.emplace_back().attributes = add_attributes(metrics, list);
  metrics.summary_points.emplace_back().attributes = add_attributes(metrics, list);
  metrics.exemplars.emplace_back().filtered_attributes = add_attributes(metrics, list);
  keys->look_up(metrics, infos);
  apply_content_policy({}, "default", infos, metrics);
  for (const otlp::Range range :
       {metrics.resources[0].attributes, metrics.scopes[0].attributes, metrics.metrics[0].metadata,
        metrics.number_points[0].attributes, metrics.histogram_points[0].attributes,
        metrics.exponential_histogram_points[0].attributes, metrics.summary_points[0].attributes,
        metrics.exemplars[0].filtered_attributes}) {
    EXPECT_EQ(keys_of(metrics, range), "a");
  }
}

struct TextBody {
  const char* sent;
  const char* dropped;
};
void PrintTo(const TextBody& body, std::ostream* out) { *out << body.sent; }
class ContentInTextBody : public Cleaning, public testing::WithParamInterface<TextBody> {};
TEST_P(ContentInTextBody, IsDroppedFromJson) {
  otlp::Logs request = one_log(9, "staging", {});
  request.records[0].body = text_value(GetParam().sent);
  keys->look_up(request, infos);
  EXPECT_EQ(apply_content_policy({}, "default", infos, request), 0U);
  EXPECT_EQ(request.records[0].body.text(), GetParam().dropped);
}
INSTANTIATE_TEST_SUITE_P(Table, ContentInTextBody,
                         testing::Values(TextBody{R"({"gen_ai.prompt":"my \"plan\", you"})", "{}"},
                                         TextBody{R"({"a":1,"prompt":"x","b":2})", R"({"a":1,"b":2})"},
                                         TextBody{R"({"a":1, "prompt" : "x" })", R"({"a":1 })"},
                                         TextBody{R"({"d":{"gen_ai.input.messages":[{"c":"]}"}],"n":1},"prompt":7})",
                                                  R"({"d":{"n":1}})"},
                                         TextBody{R"(called with {"input.value":"x","n":1})", R"(called with {"n":1})"},
                                         TextBody{R"({"a":1,"prompt":"cut o)", R"({"a":1)"},
                                         TextBody{R"({"msg":"the \"prompt\": x","prompt_tokens":5})",
                                                  R"({"msg":"the \"prompt\": x","prompt_tokens":5})"},
                                         TextBody{R"("prompt" is a word)", R"("prompt" is a word)"}));

TEST_F(Cleaning, ContentInATextBodyIsHashed) {
  ContentPolicy policy;
  policy.otherwise = ContentMode::kHash;
  otlp::Logs request = one_log(9, "staging", {});
  request.records[0].body = text_value(R"({"prompt":"hello","a":1})");
  keys->look_up(request, infos);
  apply_content_policy(policy, "default", infos, request);
  EXPECT_EQ(request.records[0].body.text(),
            R"({"prompt":"sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 bytes:5","a":1})");
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
  otlp::Logs request =
      one_log(GetParam().severity, GetParam().environment, {{"prompt", text_value("text")}, {"a", int_value(1)}});
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
  otlp::Traces request = one_span({{"note", text_value(kSecret)},
                                   {"password", text_value("hunter2")},
                                   {"api_key", int_value(123456)},
                                   {"card", int_value(4'111'111'111'111'111)},
                                   {"fine", text_value("nothing here")}});
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
  for (const std::string_view text : {span.name, span.status_message, span.trace_state, event.name,
                                      request.scopes[0].name, request.resources[0].schema_url}) {
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

otlp::Value double_value(double number) {
  otlp::Value value;
  value.type = otlp::ValueType::kDouble;
  value.number = number;
  return value;
}
otlp::Value map_value(otlp::Common& request, const std::vector<otlp::Attribute>& entries) {
  const otlp::Range range = add_attributes(request, entries);
  otlp::Value value;
  value.type = otlp::ValueType::kMap;
  value.first = range.first;
  value.size = range.count;
  return value;
}
otlp::Value array_value(otlp::Common& request, const std::vector<otlp::Value>& elements) {
  otlp::Value value;
  value.type = otlp::ValueType::kArray;
  value.first = static_cast<std::uint32_t>(request.values.size());
  value.size = static_cast<std::uint32_t>(elements.size());
  request.values.insert(request.values.end(), elements.begin(), elements.end());
  return value;
}
constexpr std::int64_t kCard = 4'111'111'111'111'111;

class MaskingOfValues : public Cleaning {
 protected:
  template <class Request>
  void mask(Request& request) {
    keys->look_up(request, infos);
    Masking(redactor).apply(request, infos, counts);
  }
  std::uint64_t count_of(std::string_view rule) const {
    const auto names = redactor->rule_names();
    return counts.at(static_cast<std::size_t>(std::ranges::find(names, rule) - names.begin()));
  }
  // One log record with this body; the body is built in the request.
  static std::string body_of(const otlp::Logs& request) {
    std::string text;
    otlp::append_text(text, request, request.records[0].body);
    return text;
  }
  redact::RuleCounts counts;
};

TEST_F(MaskingOfValues, CardNumbersSentAsNumbersAreMaskedWhereverTheyStand) {
  otlp::Traces request = one_span({});
  const otlp::Value inner = array_value(request, {int_value(kCard), int_value(17)});
  request.spans[0].attributes = add_attributes(
      request, {{"cards", array_value(request, {int_value(kCard), double_value(4111111111111111.0), inner})},
                {"double", double_value(4111111111111111.0)},
                {"map", map_value(request, {{"n", int_value(kCard)}})},
                {"ratio", double_value(4111111111111111.5)},
                {"count", int_value(1'763'765'032'123)}});
  mask(request);
  const otlp::Range range = request.spans[0].attributes;
  EXPECT_EQ(value_of(request, range, "cards"),
            R"(["[redacted:payment-card]","[redacted:payment-card]",["[redacted:payment-card]",17]])");
  EXPECT_EQ(value_of(request, range, "double"), "[redacted:payment-card]");
  EXPECT_EQ(value_of(request, range, "map"), R"({"n":"[redacted:payment-card]"})");
  EXPECT_EQ(value_of(request, range, "ratio").find("redacted"), std::string::npos);
  EXPECT_EQ(value_of(request, range, "count"), "1763765032123");
  EXPECT_EQ(count_of("payment-card"), 5U);
}

TEST_F(MaskingOfValues, ALogBodyThatIsOrHoldsACardNumberIsMasked) {
  otlp::Logs whole = one_log(9, "x", {});
  whole.records[0].body = int_value(kCard);
  mask(whole);
  EXPECT_EQ(body_of(whole), "[redacted:payment-card]");
  otlp::Logs array = one_log(9, "x", {});
  array.records[0].body = array_value(array, {int_value(kCard), int_value(5)});
  mask(array);
  EXPECT_EQ(body_of(array), R"(["[redacted:payment-card]",5])");
}

TEST_F(MaskingOfValues, ASecretKeyCoversAllThatIsNestedBelowIt) {
  otlp::Traces request = one_span({});
  otlp::Value truth;
  truth.type = otlp::ValueType::kBool;
  truth.boolean = true;
  request.spans[0].attributes = add_attributes(
      request,
      {{"cookies", map_value(request, {{"sid", text_value("s%3Aabc")}, {"secure", truth}})},
       {"secrets",
        map_value(request, {{"STRIPE", text_value("rk1")}, {"db", map_value(request, {{"a", text_value("rk2")}})}})},
       {"credentials",
        map_value(request,
                  {{"value", text_value("rk3")}, {"password", text_value("rk4")}, {"none", text_value("null")}})},
       {"cvvs.secret", array_value(request, {int_value(773), map_value(request, {{"n", int_value(774)}})})},
       {"pin.password", map_value(request, {{"v", int_value(77310932)}})},
       {"http.response.header.set-cookie",
        array_value(request, {text_value("sid=rk5; Path=/"), array_value(request, {text_value("b=rk6")})})},
       {"tokens", map_value(request, {{"input", int_value(12)}})},
       {"session", map_value(request, {{"id", text_value("s1")}})}});
  mask(request);
  const otlp::Range range = request.spans[0].attributes;
  EXPECT_EQ(value_of(request, range, "cookies"), R"({"sid":"[redacted:cookie]","secure":true})");
  EXPECT_EQ(value_of(request, range, "secrets"), R"({"STRIPE":"[redacted:secret]","db":{"a":"[redacted:secret]"}})");
  EXPECT_EQ(value_of(request, range, "credentials"),
            R"({"value":"[redacted:secret]","password":"[redacted:password]","none":"null"})");
  EXPECT_EQ(value_of(request, range, "cvvs.secret"), R"(["[redacted:secret]",{"n":"[redacted:secret]"}])");
  EXPECT_EQ(value_of(request, range, "pin.password"), R"({"v":"[redacted:secret]"})");
  EXPECT_EQ(value_of(request, range, "http.response.header.set-cookie"),
            R"(["[redacted:cookie]",["[redacted:cookie]"]])");
  EXPECT_EQ(value_of(request, range, "tokens"), R"({"input":12})");
  EXPECT_EQ(value_of(request, range, "session"), R"({"id":"s1"})");
  EXPECT_EQ(count_of("cookie"), 3U);
}

TEST_F(MaskingOfValues, ANameBesideAValueIsItsKey) {
  otlp::Logs request = one_log(9, "x", {});
  const otlp::Value password =
      map_value(request, {{"name", text_value("DB_PASSWORD")}, {"value", text_value("hunter2")}});
  const otlp::Value host = map_value(request, {{"name", text_value("DB_HOST")}, {"value", text_value("db")}});
  const otlp::Value code = map_value(request, {{"value", int_value(773109)}, {"key", text_value("api_token")}});
  request.records[0].body = map_value(request, {{"env", array_value(request, {password, host, code})}});
  mask(request);
  EXPECT_EQ(body_of(request),
            R"({"env":[{"name":"DB_PASSWORD","value":"[redacted:password]"},{"name":"DB_HOST","value":"db"},)"
            R"({"value":"[redacted:secret]","key":"api_token"}]})");
}

TEST_F(Cleaning, TheNearestAttributeAndTheBestAliasNameAnIdentifier) {
  otlp::Traces request = one_span({{"gen_ai.request.model", text_value("asked")},
                                   {"gen_ai.response.model", text_value("used")},
                                   {"jobId", int_value(17)},
                                   {"clientId", text_value("from-span")}});
  request.resources[0].attributes =
      add_attributes(request, {{"client_id", text_value("from-resource")}, {"job_id", text_value("r")}});
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
  const auto chat = usage_of({{"gen_ai.operation.name", text_value("chat")},
                              {"gen_ai.request.model", text_value("m")},
                              {"gen_ai.usage.input_tokens", int_value(10)},
                              {"gen_ai.usage.output_tokens", text_value("5")}});
  ASSERT_TRUE(chat);
  EXPECT_EQ(chat->input_tokens, 10U);
  EXPECT_EQ(chat->output_tokens, 5U);
  EXPECT_EQ(chat->model(), "m");
  EXPECT_FALSE(usage_of({{"gen_ai.operation.name", text_value("invoke_agent")},
                         {"gen_ai.request.model", text_value("m")},
                         {"gen_ai.usage.input_tokens", int_value(10)}}));
  EXPECT_FALSE(usage_of({{"gen_ai.operation.name", text_value("execute_tool")}}));
  EXPECT_FALSE(usage_of({{"gen_ai.request.model", text_value("m")}}));
  EXPECT_FALSE(usage_of({{"gen_ai.usage.input_tokens", int_value(10)}}));
}

}  // namespace
}  // namespace fettle::ingest
