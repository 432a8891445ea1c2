// The subcommands of `fettle` other than serve. Each prints to standard output, complains on standard error and returns
// the program's exit code: 0 done, 1 failed, 2 not understood.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "server/config.h"
#include "server/remote.h"

namespace fettle::server {

struct LogsCommand {
  RemoteOptions remote;
  bool follow = false;
  bool json = false;
  std::vector<std::string> services;
  std::string level;
  std::string trace;
  std::string text;
  std::string from = "-1h";
  std::string to;
  unsigned limit = 100;
};
int run_logs(const LogsCommand& command);

struct JourneyCommand {
  RemoteOptions remote;
  std::string value;
  std::string kind;
  bool json = false;
};
int run_journey(const JourneyCommand& command);

struct ShipCommand {
  RemoteOptions remote;
  std::vector<std::filesystem::path> files;
  std::filesystem::path docker;
  std::string service;
  std::filesystem::path state;
  bool once = false;
};
int run_ship(const ShipCommand& command);

struct RedactCommand {
  std::vector<redact::Rule> rules;
  std::filesystem::path file;  // empty: standard input
};
int run_redact(const RedactCommand& command);

struct PromqlTestCommand {
  std::vector<std::filesystem::path> files;
};
int run_promql_test(const PromqlTestCommand& command);

struct AuditVerifyCommand {
  std::filesystem::path file;                    // a bundle, or nothing and one of the next two
  std::filesystem::path data_dir;                // a server's folder: its ledger.db
  std::string ledger_url;                        // PostgreSQL
  std::filesystem::path password_file;           // for it
  std::string workspace;                         // of a live store; empty: every one
  std::vector<std::string> keys;                 // public keys that may have signed, hexadecimal; none: any
  std::vector<std::filesystem::path> witnesses;  // files of checkpoints that were kept elsewhere
  bool part = false;                             // an archived segment, not the whole log
  bool json = false;
};
int run_audit_verify(const AuditVerifyCommand& command);

struct BackupCommand {
  std::filesystem::path folder;
  bool verify_only = false;
  bool json = false;
};
int run_backup(const Config& config, const BackupCommand& command);

struct RestoreCommand {
  std::filesystem::path folder;
  std::filesystem::path secret_key;  // empty: the server makes a new one
  bool json = false;
};
int run_restore(const Config& config, const RestoreCommand& command);

int run_doctor(const Config& config);

}  // namespace fettle::server
