// Proof as bytes: a screenshot, a signature, a PDF, kept and fetched by the hash of its content.
#include <fmt/format.h>

#include "access/authenticator.h"
#include "api/filters.h"
#include "api/json_object.h"
#include "api/work.h"
#include "ledger/attachments.h"

namespace fettle::api {
namespace {

using access::Action;

// What proofs come as, and nothing that a browser would run.
constexpr std::string_view kMediaTypes[] = {"image/png",       "image/jpeg",       "image/webp",
                                            "application/pdf", "application/json", "application/octet-stream"};

void store(Work& work, Exchange exchange) {
  static constexpr std::string_view kOwn[] = {"client_id"};
  const http::Query& query = exchange.request().query;
  if (auto known = only_parameters(query, kOwn); !known) return exchange.problem(known.error());
  ledger::Attachment attachment{.client_id = std::string(query.get("client_id")),
                                .media_type = access::media_type_of(exchange.request().headers.get("Content-Type")),
                                .content = exchange.body(),
                                .created_at = work.clock.now()};
  change(work, std::move(exchange), [attachment = std::move(attachment)](runs::Unit& unit) -> Result<Answer> {
    auto reference = ledger::store_attachment(unit.tx(), unit.scope(), attachment);
    if (!reference) return std::unexpected(std::move(reference).error());
    Answer answer{.status = 201, .body = {}};
    ObjectText(answer.body).text("reference", *reference).number("bytes", attachment.content.size()).end();
    return answer;
  });
}

// Somebody else made these bytes: a browser shows them to nobody as a page of ours.
http::Response response_of(ledger::Attachment attachment) {
  auto response = http::Response::make(200, attachment.media_type, std::move(attachment.content));
  response.headers.set("Content-Disposition", "attachment");
  response.headers.set("Content-Security-Policy", "default-src 'none'; sandbox");
  response.headers.set("X-Content-Type-Options", "nosniff");
  return response;
}

void load(Work& work, Exchange exchange) {
  if (auto known = only_parameters(exchange.request().query, {}); !known) return exchange.problem(known.error());
  if (!is_open(work, exchange)) return;
  Scope scope = exchange.scope();
  std::string reference = exchange.parameter("reference");
  using Found = std::optional<ledger::Attachment>;
  work.rooms.runs->read(
      std::move(scope),
      [reference](runs::View& view) -> Result<Found> {
        return ledger::load_attachment(view.reader(), view.scope(), reference);
      },
      runs::Runs::Done<Found>([exchange = std::move(exchange)](Result<Found> found) mutable {
        if (!found) return exchange.problem(found.error());
        if (!*found) return exchange.problem(Error(ErrorCode::kNotFound, "there is no such attachment"));
        if ((*found)->content.empty()) {
          return exchange.problem(Error(ErrorCode::kNotFound, "its content was erased; what remains is its hash"));
        }
        exchange.respond(response_of(std::move(**found)));
      }));
}

}  // namespace

void add_attachment_routes(Router& router, Work& work) {
  router.add({.method = "POST",
              .path = "/api/v1/attachments",
              .right = Action::kWork,
              .body_bytes_max = ledger::kAttachmentBytesMax,
              .content_types = {std::begin(kMediaTypes), std::end(kMediaTypes)},
              .handle = [&work](Exchange exchange) { store(work, std::move(exchange)); }});
  add_get(router, "/api/v1/attachments/{reference}", Action::kReveal,
          [&work](Exchange exchange) { load(work, std::move(exchange)); });
}

}  // namespace fettle::api
