#include "server/operator_flags.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/commands.h"
#include "server/operator_commands.h"

namespace fettle::server {
namespace {

// `fettle kill --url … throw` would otherwise be sent to another server than the one that was meant.
void refuse_flags(const CLI::App& group) {
  for (const CLI::Option* option : group.get_options()) {
    if (option->count() == 0) continue;
    const char* preset = option->get_envname().empty() ? nullptr : std::getenv(option->get_envname().c_str());
    if (preset != nullptr && option->results().front() == preset) continue;
    throw CLI::ValidationError(option->get_name(), "belongs behind the subcommand");
  }
}

// Registers subcommands whose flags live as long as the program that reads them.
class Commands {
 public:
  Commands(CLI::App& app, Chosen& chosen, AddRemoteFlags add_remote_flags, ReadToken read_token)
      : app_(app),
        chosen_(chosen),
        add_remote_flags_(std::move(add_remote_flags)),
        read_token_(std::move(read_token)) {}

  // A group of commands; without one of them `otherwise` is run, if there is one.
  CLI::App& group(const std::string& name, const std::string& help) { return *app_.add_subcommand(name, help); }

  // `run` gets the flags' common part and its own. `add` registers its own.
  template <class Flags>
  void command(CLI::App& app, const std::function<void(CLI::App&, Flags&)>& add,
               int (*run)(const RemoteCommand&, const Flags&)) {
    struct All {
      RemoteCommand how;
      Flags own;
    };
    auto all = std::make_shared<All>();
    add_remote_flags_(app, all->how.remote);
    app.add_flag("--json", all->how.json, "what the server answered, one JSON object a line");
    add(app, all->own);
    app.callback([this, all, run, &app] {
      // A group's own callback is called for its subcommands, too, which have flags of their own.
      if (!app.get_subcommands().empty()) return refuse_flags(app);
      chosen_ = [this, all, run] {
        if (const int code = read_token_(all->how.remote); code != 0) return code;
        return run(all->how, all->own);
      };
    });
  }
  template <class Flags>
  void command(CLI::App& parent, const std::string& name, const std::string& help,
               const std::function<void(CLI::App&, Flags&)>& add, int (*run)(const RemoteCommand&, const Flags&)) {
    command<Flags>(*parent.add_subcommand(name, help), add, run);
  }

 private:
  CLI::App& app_;
  Chosen& chosen_;
  const AddRemoteFlags add_remote_flags_;
  const ReadToken read_token_;
};

struct None {};
struct Named {
  std::string id;
  std::string reason;
  std::string note;
  bool flag = false;
};

void add_selection(CLI::App& app, RunSelection& which, bool has_limit = true) {
  app.add_option("--workflow", which.workflow, "only this workflow");
  app.add_option("--client", which.client, "only of this client");
  app.add_option("--platform", which.platform, "only on this platform");
  app.add_option("--lane", which.lane, "only in this lane");
  app.add_option("--agent", which.agent, "only of this agent");
  app.add_option("--failure-reason", which.reason, "only those that ended for this reason");
  app.add_option("--from", which.from, "no earlier than this: 2026-11-21T09:00:00Z; lists also take -2h");
  app.add_option("--to", which.to, "earlier than this");
  if (has_limit) {
    app.add_option("-n,--limit", which.limit, "how many")->capture_default_str()->check(CLI::Range(1, 100'000));
  }
}

void add_reason(CLI::App& app, std::string& reason) {
  app.add_option("--reason", reason, "why; it stays in the audit")->required();
}

void add_id(CLI::App& app, std::string& id, const char* what) { app.add_option("id", id, what)->required(); }

void add_runs(Commands& commands) {
  CLI::App& runs = commands.group("runs", "runs: list, show, watch, start, cancel, pause, resume, force");
  const auto list = [](CLI::App& app, RunSelection& which) {
    app.add_option("--state", which.states, "only in this state; may be repeated");
    add_selection(app, which);
  };
  commands.command<RunSelection>(runs, list, list_runs);
  commands.command<RunSelection>(runs, "list", "the newest runs", list, list_runs);
  commands.command<Named>(
      runs, "show", "a run with its steps", [](CLI::App& app, Named& run) { add_id(app, run.id, "the run"); },
      [](const RemoteCommand& how, const Named& run) { return show_run(how, run.id); });
  commands.command<Named>(
      runs, "watch", "follow a run until it ends; exit code 0 if it succeeds",
      [](CLI::App& app, Named& run) { add_id(app, run.id, "the run"); },
      [](const RemoteCommand& how, const Named& run) { return watch_run(how, run.id); });
  commands.command<EnqueueCommand>(
      runs, "enqueue", "start a run",
      [](CLI::App& app, EnqueueCommand& run) {
        app.add_option("workflow", run.workflow, "which workflow")->required();
        app.add_option("--payload", run.payload, "JSON, @FILE, or - for standard input");
        app.add_option("--client", run.client, "for which client");
        app.add_option("--platform", run.platform, "on which platform");
        app.add_option("--lane", run.lane, "in which lane");
        app.add_option("--agent", run.agent, "by which agent");
        app.add_option("--at", run.run_at, "not before: 2026-11-21T09:00:00Z");
        app.add_option("--key", run.key, "idempotency key: the same run is made once");
        app.add_option("--priority", run.priority, "0 to 9, 0 first")->check(CLI::Range(0, 9));
        app.add_option("--max-retries", run.max_retries, "retries after the first try")->check(CLI::Range(0, 1'000));
      },
      enqueue_run);
  const std::pair<const char*, const char*> changes[] = {
      {"cancel", "end a run; its worker learns it with its next call"},
      {"pause", "hold a run until it is resumed"},
      {"resume", "let a paused run go on"}};
  for (const auto& [name, help] : changes) {
    commands.command<Named>(
        runs, name, help,
        [change = std::string(name)](CLI::App& app, Named& run) {
          run.note = change;
          add_id(app, run.id, "the run");
          add_reason(app, run.reason);
        },
        [](const RemoteCommand& how, const Named& run) { return change_run(how, run.id, run.note, run.reason); });
  }
  commands.command<Named>(
      runs, "force", "end a run that nothing else ends, whatever holds it",
      [](CLI::App& app, Named& run) {
        add_id(app, run.id, "the run");
        app.add_option("--state", run.note, "as what it ends")
            ->required()
            ->check(CLI::IsMember({"succeeded", "failed", "dead", "cancelled", "discarded"}));
        add_reason(app, run.reason);
      },
      [](const RemoteCommand& how, const Named& run) { return force_run(how, run.id, run.note, run.reason); });
}

void add_escalations(Commands& commands) {
  CLI::App& group = commands.group("escalations", "what was handed to a person: list, assign, resolve");
  const auto list = [](CLI::App& app, Named& which) {
    app.add_flag("--all", which.flag, "those that were resolved, too");
  };
  const auto run_list = [](const RemoteCommand& how, const Named& which) { return list_escalations(how, which.flag); };
  commands.command<Named>(group, list, run_list);
  commands.command<Named>(group, "list", "what is open, the worst first", list, run_list);
  commands.command<Named>(
      group, "assign", "give it an owner",
      [](CLI::App& app, Named& which) {
        add_id(app, which.id, "the escalation");
        app.add_option("owner", which.note, "who sees to it")->required();
      },
      [](const RemoteCommand& how, const Named& which) { return assign_escalation(how, which.id, which.note); });
  commands.command<Named>(
      group, "resolve", "it is seen to",
      [](CLI::App& app, Named& which) {
        add_id(app, which.id, "the escalation");
        app.add_option("--note", which.note, "what the record is to say");
      },
      [](const RemoteCommand& how, const Named& which) { return resolve_escalation(how, which.id, which.note); });
}

void add_workers(Commands& commands) {
  CLI::App& group = commands.group("workers", "workers and browser runners: list, drain");
  const auto nothing = [](CLI::App&, None&) {};
  const auto list = [](const RemoteCommand& how, const None&) { return list_workers(how); };
  commands.command<None>(group, nothing, list);
  commands.command<None>(group, "list", "who is there, with how much to do", nothing, list);
  commands.command<Named>(
      group, "drain", "a worker gets no more work; what it has it may end",
      [](CLI::App& app, Named& which) {
        add_id(app, which.id, "its runner_id");
        app.add_option("--reason", which.reason, "why");
      },
      [](const RemoteCommand& how, const Named& which) { return drain_worker(how, which.id, which.reason); });
}

void add_many(CLI::App& app, RetryCommand& command) {
  app.add_option("runs", command.runs, "the runs; without any, dead letters by filter");
  add_selection(app, command.which, false);
  app.add_flag("--all", command.all, "every dead letter that you may see");
  app.add_flag("!--no-wait", command.waits, "end as soon as the server has taken the job");
  // Not required here, because the group's other commands go without it.
  app.add_option("--reason", command.reason, "why; it stays in the audit; always needed");
}

void add_dead_and_retry(Commands& commands) {
  CLI::App& dead = commands.group("dead", "dead letters: list, discard");
  const auto list = [](CLI::App& app, RunSelection& which) { add_selection(app, which); };
  commands.command<RunSelection>(dead, list, list_dead);
  commands.command<RunSelection>(dead, "list", "runs that need somebody", list, list_dead);
  commands.command<RetryCommand>(dead, "discard", "runs that nobody will retry, one by one or by filter", add_many,
                                 discard_runs);

  CLI::App& retry = commands.group("retry", "retry dead letters, one by one or by filter");
  commands.command<RetryCommand>(
      retry,
      [](CLI::App& app, RetryCommand& command) {
        add_many(app, command);
        app.add_flag("--from-start", command.from_start, "from the first step, not from the one that failed");
      },
      retry_runs);
  commands.command<Named>(
      retry, "job", "how far a job over many runs is",
      [](CLI::App& app, Named& job) { add_id(app, job.id, "the job"); },
      [](const RemoteCommand& how, const Named& job) { return show_job(how, job.id); });
  commands.command<Named>(
      retry, "abort", "end a job over many runs; what is done stays done",
      [](CLI::App& app, Named& job) {
        add_id(app, job.id, "the job");
        add_reason(app, job.reason);
      },
      [](const RemoteCommand& how, const Named& job) { return abort_job(how, job.id, job.reason); });
}

void add_kill(Commands& commands) {
  CLI::App& kill = commands.group("kill", "kill switches: list, throw, resume, in-flight");
  const auto list = [](CLI::App& app, Named& which) {
    app.add_flag("--all", which.flag, "those that were resumed, too");
  };
  const auto run_list = [](const RemoteCommand& how, const Named& which) { return list_switches(how, which.flag); };
  commands.command<Named>(kill, list, run_list);
  commands.command<Named>(kill, "list", "switches that are on", list, run_list);
  commands.command<SwitchCommand>(
      kill, "throw", "stop at once what matches every part that is named, and show what still runs",
      [](CLI::App& app, SwitchCommand& command) {
        app.add_option("--client", command.client, "work of this client");
        app.add_option("--platform", command.platform, "work on this platform");
        app.add_option("--lane", command.lane, "work in this lane");
        app.add_option("--workflow", command.workflow, "runs of this workflow");
        app.add_option("--tool", command.tool, "use of this tool");
        app.add_option("--agent", command.agent, "work of this agent");
        app.add_flag("--all", command.all, "the whole workspace");
        app.add_flag("--pause", command.is_pause, "let what runs end, and lease nothing more");
        add_reason(app, command.reason);
      },
      throw_switch);
  commands.command<Named>(
      kill, "resume", "lift a switch",
      [](CLI::App& app, Named& which) {
        add_id(app, which.id, "the switch");
        add_reason(app, which.reason);
      },
      [](const RemoteCommand& how, const Named& which) { return resume_switch(how, which.id, which.reason); });
  commands.command<Named>(
      kill, "in-flight", "what runs in a switch's reach",
      [](CLI::App& app, Named& which) { add_id(app, which.id, "the switch"); },
      [](const RemoteCommand& how, const Named& which) { return list_in_flight(how, which.id); });
}

void add_approve(Commands& commands) {
  CLI::App& approve = commands.group("approve", "approvals: list, show, yes, no");
  const auto list = [](CLI::App& app, Named& which) {
    app.add_flag("--all", which.flag, "those that were decided, too");
  };
  const auto run_list = [](const RemoteCommand& how, const Named& which) { return list_approvals(how, which.flag); };
  commands.command<Named>(approve, list, run_list);
  commands.command<Named>(approve, "list", "what waits for a decision", list, run_list);
  commands.command<Named>(
      approve, "show", "one, with what is to be decided",
      [](CLI::App& app, Named& which) { add_id(app, which.id, "the approval"); },
      [](const RemoteCommand& how, const Named& which) { return show_approval(how, which.id); });
  for (const bool yes : {true, false}) {
    commands.command<Named>(
        approve, yes ? "yes" : "no", yes ? "approve" : "reject",
        [yes](CLI::App& app, Named& which) {
          which.flag = yes;
          add_id(app, which.id, "the approval");
          app.add_option("--note", which.note, "what the record is to say");
        },
        [](const RemoteCommand& how, const Named& which) {
          return decide_approval(how, which.id, which.flag, which.note);
        });
  }
}

void add_search(CLI::App& app, AuditSearch& search) {
  const std::pair<const char*, const char*> filters[] = {{"--action", "action"},
                                                         {"--result", "result"},
                                                         {"--actor", "actor_id"},
                                                         {"--actor-type", "actor_type"},
                                                         {"--role", "role"},
                                                         {"--target", "target_id"},
                                                         {"--target-type", "target_type"},
                                                         {"--client", "client_id"},
                                                         {"--platform", "platform"},
                                                         {"--surface", "surface"},
                                                         {"--lane", "lane"},
                                                         {"--request", "request_id"},
                                                         {"--correlation", "correlation_id"},
                                                         {"--trace", "trace_id"},
                                                         {"--span", "span_id"},
                                                         {"--run", "run_id"},
                                                         {"--step", "step_id"},
                                                         {"--job", "job_id"},
                                                         {"--policy", "policy_snapshot_id"},
                                                         {"--failure-reason", "reason"}};
  for (const auto& [flag, name] : filters) {
    app.add_option_function<std::string>(
        flag, [&search, name = std::string(name)](const std::string& v) { search.filters.emplace_back(name, v); },
        std::string("only with this ") + name);
  }
  app.add_option("--from", search.from, "no earlier than this: -2h, 2026-11-21T09:00:00Z");
  app.add_option("--to", search.to, "earlier than this");
  app.add_option("-n,--limit", search.limit, "how many")->capture_default_str()->check(CLI::Range(1, 100'000));
}

void add_audit(Commands& commands, Chosen& chosen) {
  CLI::App& audit = commands.group("audit", "the audit log: search, show, checkpoints, export, verify");
  audit.require_subcommand(1);
  commands.command<AuditSearch>(audit, "search", "who did what to what, newest first", add_search, search_audits);
  commands.command<Named>(
      audit, "show", "one record with its proof",
      [](CLI::App& app, Named& which) { add_id(app, which.id, "its name, or its number"); },
      [](const RemoteCommand& how, const Named& which) { return show_audit(how, which.id); });
  struct Limit {
    std::size_t count = 20;
  };
  commands.command<Limit>(
      audit, "checkpoints", "signed statements of how far the log had come",
      [](CLI::App& app, Limit& limit) {
        app.add_option("-n,--limit", limit.count, "how many")->capture_default_str()->check(CLI::Range(1, 100'000));
      },
      [](const RemoteCommand& how, const Limit& limit) { return list_audit_checkpoints(how, limit.count); });
  commands.command<AuditExport>(
      audit, "export", "the log as a file that anybody can verify; it is verified on the way",
      [](CLI::App& app, AuditExport& what) {
        app.add_option("--output", what.output, "the file; it must not exist")->required();
        app.add_option("--from", what.from, "first record: 1, or the first of a segment");
        app.add_option("--to", what.to, "last record: one that has a checkpoint; by default the newest");
        app.add_flag("--without-details", what.without_details, "leave out payloads, summaries, before and after");
      },
      export_audits);

  auto verify = std::make_shared<AuditVerifyCommand>();
  CLI::App& app = *audit.add_subcommand(
      "verify", "check a log without a server, exported or in its store; exit code 1 names the first bad record");
  app.add_option("file", verify->file, "an exported bundle");
  app.add_option("--data-dir", verify->data_dir, "a server's data folder: the log in its ledger");
  app.add_option("--ledger-url", verify->ledger_url, "a PostgreSQL ledger");
  app.add_option("--ledger-password-file", verify->password_file, "file that holds its password");
  app.add_option("--workspace", verify->workspace, "of a store, only this workspace");
  app.add_option("--key", verify->keys, "the server's public key, in hexadecimal; may be repeated");
  app.add_option("--witness", verify->witnesses, "a file of checkpoints that was kept elsewhere");
  app.add_flag("--part", verify->part, "the file is a part of the log, such as an archived segment");
  app.add_flag("--json", verify->json, "print the report as JSON");
  app.callback([&chosen, verify] { chosen = [verify] { return run_audit_verify(*verify); }; });
}

void add_membership(CLI::App& app, MemberCommand& member) {
  app.add_option("--client", member.clients, "limited to this client; may be repeated");
  app.add_option("--payloads", member.payloads, "may see payloads")->check(CLI::IsMember({"yes", "no", "role"}));
}

void add_user(Commands& commands) {
  const auto roles = CLI::IsMember({"owner", "admin", "manager", "operator", "viewer"});
  CLI::App& user = commands.group("user", "people: list, invite, change, remove, disable, enable, password-link");
  const auto nothing = [](CLI::App&, None&) {};
  const auto list = [](const RemoteCommand& how, const None&) { return list_users(how); };
  commands.command<None>(user, nothing, list);
  commands.command<None>(user, "list", "the people of the workspace", nothing, list);
  commands.command<MemberCommand>(
      user, "invite", "make a link that lets somebody in; it is shown once",
      [&](CLI::App& app, MemberCommand& member) {
        app.add_option("address", member.who, "whose")->required();
        app.add_option("--role", member.role, "as what")->required()->check(roles);
        add_membership(app, member);
      },
      invite_user);
  commands.command<MemberCommand>(
      user, "change", "set role, clients, or the right to see payloads",
      [&](CLI::App& app, MemberCommand& member) {
        app.add_option("who", member.who, "address or id")->required();
        app.add_option("--role", member.role, "as what")->check(roles);
        add_membership(app, member);
        app.add_flag("--all-clients", member.all_clients, "limited to none");
      },
      change_user);
  struct Action {
    const char* name;
    const char* help;
    int (*run)(const RemoteCommand&, const Named&);
  };
  const Action actions[] = {
      {"remove", "take somebody out of the workspace",
       [](const RemoteCommand& how, const Named& who) { return remove_user(how, who.id); }},
      {"disable", "close an account",
       [](const RemoteCommand& how, const Named& who) { return disable_user(how, who.id, true); }},
      {"enable", "open it again",
       [](const RemoteCommand& how, const Named& who) { return disable_user(how, who.id, false); }},
      {"password-link", "make a link that sets a new password; it is shown once",
       [](const RemoteCommand& how, const Named& who) { return make_password_link(how, who.id); }}};
  for (const Action& action : actions) {
    commands.command<Named>(
        user, action.name, action.help,
        [](CLI::App& app, Named& who) { app.add_option("who", who.id, "address or id")->required(); }, action.run);
  }
}

void add_token(Commands& commands) {
  CLI::App& token = commands.group("token", "tokens of programs: list, create, revoke");
  const auto nothing = [](CLI::App&, None&) {};
  const auto list = [](const RemoteCommand& how, const None&) { return list_tokens(how); };
  commands.command<None>(token, nothing, list);
  commands.command<None>(token, "list", "tokens; their texts are nowhere", nothing, list);
  commands.command<TokenCommand>(
      token, "create", "make one; it is printed once",
      [](CLI::App& app, TokenCommand& made) {
        app.add_option("name", made.name, "what it is for")->required();
        app.add_option("--scope", made.scopes, "what it may do; may be repeated")
            ->required()
            ->check(CLI::IsMember({"ingest", "read", "work", "operate", "admin"}));
        app.add_option("--client", made.clients, "limited to this client; may be repeated");
        app.add_option("--payloads", made.payloads, "may see payloads")->check(CLI::IsMember({"yes", "no"}));
        app.add_option("--expires", made.expires_at, "2027-01-31T00:00:00Z");
      },
      create_token);
  commands.command<Named>(
      token, "revoke", "it stops working at once",
      [](CLI::App& app, Named& which) { add_id(app, which.id, "the token"); },
      [](const RemoteCommand& how, const Named& which) { return revoke_token(how, which.id); });
}

}  // namespace

void add_operator_commands(CLI::App& app, Chosen& chosen, const AddRemoteFlags& add_remote_flags,
                           const ReadToken& read_token) {
  // Lives as long as the program: callbacks use it.
  static Commands commands(app, chosen, add_remote_flags, read_token);
  add_runs(commands);
  add_dead_and_retry(commands);
  add_kill(commands);
  add_approve(commands);
  add_escalations(commands);
  add_workers(commands);
  add_audit(commands, chosen);
  add_user(commands);
  add_token(commands);
}

}  // namespace fettle::server
