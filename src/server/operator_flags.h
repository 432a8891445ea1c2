// The flags of the commands of operator_commands.h. main.cc hands in the program and runs what was chosen.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "server/remote.h"

namespace CLI {
class App;
}

namespace fettle::server {

// What the command line asked for; empty when it was another command. `read_token` fills in the token of the file that
// was named, and answers an exit code if it cannot.
using Chosen = std::function<int()>;
using ReadToken = std::function<int(RemoteOptions& remote)>;
using AddRemoteFlags = std::function<void(CLI::App& app, RemoteOptions& remote)>;

void add_operator_commands(CLI::App& app, Chosen& chosen, const AddRemoteFlags& add_remote_flags,
                           const ReadToken& read_token);

}  // namespace fettle::server
