// The subcommands with which an operator works over the API of a running server: runs, dead, retry, kill, approve,
// escalations, workers, audit, user, token. As in commands.h each prints to standard output, complains on standard
// error and returns the exit code: 0 done, 1 refused, failed or not good, 2 not understood. With `json` it prints what
// the server answered, one object a line.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "server/remote.h"

namespace fettle::server {

struct RemoteCommand {
  RemoteOptions remote;
  bool json = false;
};

// Which runs; empty parts match all.
struct RunSelection {
  std::vector<std::string> states;
  std::string workflow, client, platform, lane, agent, reason, from, to;
  std::size_t limit = 50;
};

// The target with the selection as its query.
std::string runs_target(std::string path, const RunSelection& which);

int list_runs(const RemoteCommand& how, const RunSelection& which);
int show_run(const RemoteCommand& how, const std::string& run);
// Until it ends: 0 when it succeeded.
int watch_run(const RemoteCommand& how, const std::string& run);
struct EnqueueCommand {
  std::string workflow, client, platform, lane, agent, payload, run_at, key, priority, max_retries;
};
// `payload` is JSON, @FILE, or - for standard input.
int enqueue_run(const RemoteCommand& how, const EnqueueCommand& run);
// cancel, pause, resume, discard: each with a reason.
int change_run(const RemoteCommand& how, const std::string& run, const std::string& change, const std::string& reason);

// To a terminal state, whatever holds it: for a run that nothing else ends.
int force_run(const RemoteCommand& how, const std::string& run, const std::string& state, const std::string& reason);

int list_dead(const RemoteCommand& how, const RunSelection& which);

struct RetryCommand {
  std::vector<std::string> runs;
  RunSelection which;  // among dead letters, when no runs are named
  bool all = false;    // with nothing selected
  bool from_start = false;
  bool waits = true;  // until a job over many has ended
  std::string reason;
};
int retry_runs(const RemoteCommand& how, const RetryCommand& command);
// Discards by filter, as retry_runs() retries.
int discard_runs(const RemoteCommand& how, const RetryCommand& command);
int show_job(const RemoteCommand& how, const std::string& job);
int abort_job(const RemoteCommand& how, const std::string& job, const std::string& reason);

struct SwitchCommand {
  std::string client, platform, lane, workflow, tool, agent, reason;
  bool is_pause = false;
  bool all = false;  // the whole workspace, when nothing is named
};
int list_switches(const RemoteCommand& how, bool all);
int throw_switch(const RemoteCommand& how, const SwitchCommand& command);
int resume_switch(const RemoteCommand& how, const std::string& id, const std::string& reason);
int list_in_flight(const RemoteCommand& how, const std::string& id);

int list_approvals(const RemoteCommand& how, bool all);
int show_approval(const RemoteCommand& how, const std::string& id);
int decide_approval(const RemoteCommand& how, const std::string& id, bool approves, const std::string& note);

int list_escalations(const RemoteCommand& how, bool all);
int assign_escalation(const RemoteCommand& how, const std::string& id, const std::string& owner);
int resolve_escalation(const RemoteCommand& how, const std::string& id, const std::string& note);

int list_workers(const RemoteCommand& how);
// It gets no more work; what it has it may end.
int drain_worker(const RemoteCommand& how, const std::string& id, const std::string& reason);

struct AuditSearch {
  std::vector<std::pair<std::string, std::string>> filters;  // by the API's names
  std::string from, to;
  std::size_t limit = 50;
};
int search_audits(const RemoteCommand& how, const AuditSearch& search);
int show_audit(const RemoteCommand& how, const std::string& id);
int list_audit_checkpoints(const RemoteCommand& how, std::size_t limit);
struct AuditExport {
  std::filesystem::path output;
  std::string from, to;
  bool without_details = false;
};
// Verifies what it wrote before it counts.
int export_audits(const RemoteCommand& how, const AuditExport& what);

int list_users(const RemoteCommand& how);
struct MemberCommand {
  std::string who;  // address or id
  std::string role;
  std::vector<std::string> clients;
  bool all_clients = false;
  std::string payloads;  // yes, no, role; empty: as it is
};
int invite_user(const RemoteCommand& how, const MemberCommand& member);
int change_user(const RemoteCommand& how, const MemberCommand& member);
int remove_user(const RemoteCommand& how, const std::string& who);
int disable_user(const RemoteCommand& how, const std::string& who, bool disabled);
int make_password_link(const RemoteCommand& how, const std::string& who);

int list_tokens(const RemoteCommand& how);
struct TokenCommand {
  std::string name;
  std::vector<std::string> scopes;
  std::vector<std::string> clients;
  std::string payloads;
  std::string expires_at;
};
int create_token(const RemoteCommand& how, const TokenCommand& token);
int revoke_token(const RemoteCommand& how, const std::string& id);

}  // namespace fettle::server
