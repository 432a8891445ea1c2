// How the engine's errors look over HTTP.
#pragma once

#include <string>
#include <string_view>

#include "engine/host/engine.h"
#include "http/message.h"

namespace fettle::engine_host {

// Codes of the engine that the host gives or treats specially; they are part of ClickHouse's interface.
enum EngineCode : int {
  kSyntaxError = 62,
  kUnknownSetting = 115,
  kTimeoutExceeded = 159,
  kReadonly = 164,
  kQueryIsTooLarge = 223,
  kTooManySimultaneousQueries = 202,
  kMemoryLimitExceeded = 241,
  kSessionIsLocked = 373,
  kQueryWasCancelled = 394,
  kAuthenticationFailed = 516,
  kBadArguments = 36,
};

int http_status_of(int engine_code);

// A failure of the host's own making, worded as the engine words its own.
Failure host_failure(EngineCode code, std::string_view name, std::string_view message);

// "Code: N. DB::Exception: …" with X-ClickHouse-Exception-Code.
http::Response error_response(const Failure& failure, std::string_view query_id);

}  // namespace fettle::engine_host
