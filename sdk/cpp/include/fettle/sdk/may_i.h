// "May I?", asked before each side effect by executors that Fettle does not run.
#pragma once

#include <optional>
#include <string>

#include "fettle/sdk/clock.h"
#include "fettle/sdk/json.h"

namespace fettle::sdk {

// Empty is absent.
struct Question {
  std::string client_id;
  std::string platform;
  std::string lane;
  std::string workflow;
  std::string tool;
  std::string agent;
  std::string action_class;
};

enum class OnUnreachable : std::uint8_t { kRefuse, kAllow };

struct MayIOptions {
  // The rule while the server is away and has never said what the class's rule is.
  OnUnreachable on_unreachable = OnUnreachable::kRefuse;
  Milliseconds timeout{2'000};
};

struct Verdict {
  bool allowed = false;
  std::string reason;
  Json kill_switch;  // null when there is none
  // kUnreachable: the rule of the action's class, applied while the server is away.
  enum class Source : std::uint8_t { kServer, kCache, kUnreachable } source = Source::kServer;
};

}  // namespace fettle::sdk
