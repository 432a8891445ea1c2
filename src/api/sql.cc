// POST /api/v1/sql.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "api/api.h"
#include "api/json_body.h"
#include "core/json.h"

namespace fettle::api {

void Api::run_sql(Exchange exchange) {
  if (!exchange.scope().clients.empty()) {
    return exchange.problem(Error(ErrorCode::kPermissionDenied, "a token limited to some clients has no SQL"));
  }
  auto body = parse_object(exchange.request().body, {"query", "max_rows"});
  if (!body) return exchange.problem(body.error());
  auto query = text_member(*body, "query");
  if (!query) return exchange.problem(query.error());
  telemetry::SqlLimits limits = limits_.sql;
  if (const auto* wanted = body->if_contains("max_rows")) {
    if (!wanted->is_int64() || wanted->get_int64() < 1) {
      return exchange.problem(Error(ErrorCode::kInvalidArgument, "member 'max_rows' must be a whole number above 0"));
    }
    limits.rows_max = std::min(limits.rows_max, static_cast<std::uint64_t>(wanted->get_int64()));
  }
  reads_.run(std::move(exchange),
             [this, limits, statement = std::string(*query)](Exchange& held, const std::stop_token& stop) {
               const auto begun = services_.clock.monotonic();
               auto found = services_.reader.sql(held.scope(), statement, limits, read_options(stop));
               if (!found) return held.problem(found.error());
               std::string answer = R"({"columns":[)";
               for (std::size_t i = 0; i < found->columns.size(); ++i) {
                 answer += i == 0 ? R"({"name":)" : R"(,{"name":)";
                 append_json_string(answer, found->columns[i].name);
                 answer += R"(,"type":)";
                 append_json_string(answer, found->columns[i].type);
                 answer += '}';
               }
               answer += R"(],"rows":[)";
               answer += found->rows;
               const std::chrono::duration<double, std::milli> elapsed = services_.clock.monotonic() - begun;
               fmt::format_to(std::back_inserter(answer), R"(],"truncated":{},"elapsed_ms":{:.3f}}})", found->truncated,
                              elapsed.count());
               held.json(std::move(answer));
             });
}

}  // namespace fettle::api
