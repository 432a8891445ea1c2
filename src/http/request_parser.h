// Beast's parser, filling a Request: the header at once, a chunked body as it comes. Included by connection.cc alone.
#pragma once

#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <cstdint>
#include <string>
#include <string_view>

#include "http/body_sink.h"
#include "http/server.h"

namespace fettle::http {

class RequestParser final : public boost::beast::http::basic_parser<true> {
 public:
  // Both outlive the parser.
  RequestParser(Request& request, BodySink& sink, std::uint32_t header_bytes_max) : request_(request), sink_(sink) {
    header_limit(header_bytes_max);
    body_limit(boost::none);  // the sink knows the limit
  }

  bool is_http_1_0() const { return http_1_0_; }

 private:
  using ErrorCode = boost::beast::error_code;
  using View = boost::beast::string_view;

  void on_request_impl(boost::beast::http::verb, View method, View target, int version, ErrorCode&) override {
    http_1_0_ = version < 11;
    request_.method.assign(method.data(), method.size());
    request_.target.assign(target.data(), target.size());
  }
  void on_response_impl(int, View, int, ErrorCode&) override {}
  void on_field_impl(boost::beast::http::field, View name, View value, ErrorCode&) override {
    // Fields after a chunked body are read and dropped: nobody asked for them and they were never authorised.
    if (!header_done_) request_.headers.add({name.data(), name.size()}, {value.data(), value.size()});
  }
  void on_header_impl(ErrorCode&) override { header_done_ = true; }
  void on_body_init_impl(const boost::optional<std::uint64_t>&, ErrorCode&) override {}
  std::size_t on_body_impl(View body, ErrorCode& error) override { return take(body, error); }
  void on_chunk_header_impl(std::uint64_t size, View, ErrorCode& error) override {
    if (size > sink_.bytes_left()) {
      sink_.refuse_too_large();
      error = boost::beast::http::error::body_limit;
    }
  }
  std::size_t on_chunk_body_impl(std::uint64_t, View body, ErrorCode& error) override { return take(body, error); }
  void on_finish_impl(ErrorCode&) override {}

  std::size_t take(View body, ErrorCode& error) {
    if (!sink_.append({body.data(), body.size()})) {
      error = boost::beast::http::error::body_limit;
      return 0;
    }
    return body.size();
  }

  Request& request_;
  BodySink& sink_;
  bool header_done_ = false;
  bool http_1_0_ = false;
};

}  // namespace fettle::http
