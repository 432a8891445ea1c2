#include "api/exchange.h"

#include <algorithm>
#include <cassert>

#include "api/problem.h"

namespace fettle::api {

Exchange::Exchange(http::Request request, http::Responder responder, std::string request_id, Clock& clock,
                   metrics::Registry& metrics)
    : request_(std::move(request)),
      responder_(std::make_unique<http::Responder>(std::move(responder))),
      request_id_(std::move(request_id)),
      clock_(&clock),
      metrics_(&metrics),
      begun_(clock.monotonic()) {}

Exchange::~Exchange() {
  if (responder_ != nullptr) problem(Error(ErrorCode::kInternal, "a handler ended without an answer"));
}

void Exchange::set_route(std::string_view method, std::string_view path_template, PathParameters parameters,
                         Caller caller) {
  route_ = std::string(method) + ' ' + std::string(path_template);
  parameters_ = std::move(parameters);
  caller_ = std::move(caller);
}

const std::string& Exchange::parameter(std::string_view name) const {
  const auto found = std::ranges::find(parameters_, name, &PathParameters::value_type::first);
  assert(found != parameters_.end());
  return found->second;
}

void Exchange::on_close(std::function<void()> callback) {
  on_close_ = callback;
  responder_->on_close(std::move(callback));
}

void Exchange::count(int status) {
  metrics_
      ->counter("fettle_api_requests_total", "Requests to the API by route and status.",
                {{"route", route_}, {"status", std::to_string(status)}})
      .add();
  metrics_
      ->histogram("fettle_api_request_seconds", "Time from a request's last byte to its answer's first.",
                  {0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}, {{"route", route_}})
      .observe(std::chrono::duration<double>(clock_->monotonic() - begun_).count());
}

void Exchange::add_headers(http::Response& response) const {
  response.headers.set("X-Request-Id", request_id_);
  response.headers.set("X-Content-Type-Options", "nosniff");
  if (!response.headers.has("Cache-Control")) response.headers.set("Cache-Control", "no-store");
}

void Exchange::respond(http::Response response) {
  add_headers(response);
  count(response.status);
  const auto responder = std::exchange(responder_, nullptr);
  std::move(*responder).respond(std::move(response));
}

void Exchange::json(std::string body, int status) {
  respond(http::Response::make(status, "application/json", std::move(body)));
}

void Exchange::problem(const Error& error) { respond(api::problem(error, request_id_)); }

std::unique_ptr<http::ResponseStream> Exchange::stream(http::Response head) {
  add_headers(head);
  count(head.status);
  const auto responder = std::exchange(responder_, nullptr);
  auto stream = std::move(*responder).stream(std::move(head));
  if (on_close_) stream->on_close(on_close_);
  return stream;
}

}  // namespace fettle::api
