// fettle ship.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <thread>

#include "core/clock.h"
#include "core/rng.h"
#include "server/commands.h"
#include "server/shipper.h"
#include "server/signals.h"

namespace fettle::server {
namespace {

// $XDG_STATE_HOME/fettle/ship.json, as the XDG base directory specification has it.
std::filesystem::path default_state() {
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  if (state != nullptr && *state == '/') return std::filesystem::path(state) / "fettle" / "ship.json";
  if (home != nullptr && *home == '/') return std::filesystem::path(home) / ".local" / "state" / "fettle" / "ship.json";
  return "fettle-ship.json";
}

int complain(std::string_view what) {
  fmt::print(stderr, "fettle: {}\n", what);
  return 1;
}

}  // namespace

int run_ship(const ShipCommand& command) {
  if (command.files.empty() && command.docker.empty()) {
    complain("name the files to send, or Docker's folder with --docker");
    return 2;
  }
  std::stop_source stopping;
  const Signals signals(stopping);
  const std::filesystem::path file = command.state.empty() ? default_state() : command.state;
  std::error_code error;
  if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path(), error);
  auto state = ShipState::open(file);
  if (!state) return complain(state.error().message());

  SystemClock clock;
  SystemRng rng;
  Remote remote(command.remote);
  Shipper shipper(remote.client(), *state, clock, rng, {.bearer = remote.bearer()});
  for (const std::filesystem::path& path : command.files) shipper.add(path, command.service);
  if (!command.docker.empty()) shipper.add_docker(command.docker);

  auto done = command.once ? shipper.run_once(stopping.get_token()) : shipper.run(stopping.get_token());
  const Shipper::Totals& totals = shipper.totals();
  fmt::print(stderr, "fettle: {} lines sent, {} batches refused, {} retries\n", totals.lines, totals.refused,
             totals.retries);
  if (!done) return complain(done.error().message());
  return totals.refused == 0 ? 0 : 1;
}

}  // namespace fettle::server
