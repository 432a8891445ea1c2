#include "access/schema.h"

namespace fettle::access {

const db::Migrations& migrations() {
  static const db::Migrations all = {
      {"access",
       1,
       "workspaces, users, members, tokens, sessions, links",
       {
           // One row, of the installation: the number of the last change.
           "CREATE TABLE access_version (workspace TEXT PRIMARY KEY, version BIGINT NOT NULL)",
           "INSERT INTO access_version (workspace, version) VALUES ('', 0)",

           "CREATE TABLE access_workspaces (workspace TEXT PRIMARY KEY, name TEXT NOT NULL, plan TEXT NOT NULL, "
           "run_ai TEXT NOT NULL, created_at BIGINT NOT NULL, deleted_at BIGINT, version BIGINT NOT NULL)",
           "CREATE INDEX access_workspaces_version ON access_workspaces (version)",

           "CREATE TABLE access_users (workspace TEXT NOT NULL, id TEXT NOT NULL, email TEXT NOT NULL, name TEXT NOT "
           "NULL, password TEXT NOT NULL, created_at BIGINT NOT NULL, disabled_at BIGINT, version BIGINT NOT NULL, "
           "PRIMARY KEY (workspace, id))",
           "CREATE UNIQUE INDEX access_users_id ON access_users (id)",
           "CREATE UNIQUE INDEX access_users_email ON access_users (email)",
           "CREATE INDEX access_users_version ON access_users (version)",

           // `clients` is a JSON array, or null for all; `payloads` is null where the role decides.
           "CREATE TABLE access_members (workspace TEXT NOT NULL, user_id TEXT NOT NULL, role BIGINT NOT NULL, clients "
           "TEXT, payloads BIGINT, created_at BIGINT NOT NULL, removed_at BIGINT, version BIGINT NOT NULL, "
           "PRIMARY KEY (workspace, user_id))",
           "CREATE INDEX access_members_user ON access_members (user_id)",
           "CREATE INDEX access_members_version ON access_members (version)",

           "CREATE TABLE access_tokens (workspace TEXT NOT NULL, id TEXT NOT NULL, digest BYTEA NOT NULL, name TEXT "
           "NOT "
           "NULL, hint TEXT NOT NULL, scopes BIGINT NOT NULL, clients TEXT, payloads BIGINT, created_by TEXT NOT NULL, "
           "created_at BIGINT NOT NULL, expires_at BIGINT, revoked_at BIGINT, last_used_at BIGINT, version BIGINT NOT "
           "NULL, PRIMARY KEY (workspace, id))",
           "CREATE UNIQUE INDEX access_tokens_digest ON access_tokens (digest)",
           "CREATE INDEX access_tokens_version ON access_tokens (version)",

           "CREATE TABLE access_sessions (workspace TEXT NOT NULL, id TEXT NOT NULL, digest BYTEA NOT NULL, user_id "
           "TEXT "
           "NOT NULL, address TEXT NOT NULL, agent TEXT NOT NULL, created_at BIGINT NOT NULL, expires_at BIGINT NOT "
           "NULL, last_used_at BIGINT NOT NULL, ended_at BIGINT, version BIGINT NOT NULL, PRIMARY KEY (workspace, id))",
           "CREATE UNIQUE INDEX access_sessions_digest ON access_sessions (digest)",
           "CREATE INDEX access_sessions_user ON access_sessions (workspace, user_id)",
           "CREATE INDEX access_sessions_version ON access_sessions (version)",

           "CREATE TABLE access_links (workspace TEXT NOT NULL, id TEXT NOT NULL, digest BYTEA NOT NULL, purpose "
           "BIGINT "
           "NOT NULL, email TEXT NOT NULL, user_id TEXT NOT NULL, role BIGINT NOT NULL, clients TEXT, payloads BIGINT, "
           "created_by TEXT NOT NULL, created_at BIGINT NOT NULL, expires_at BIGINT NOT NULL, used_at BIGINT, "
           "PRIMARY KEY (workspace, id))",
           "CREATE UNIQUE INDEX access_links_digest ON access_links (digest)",
       }},
  };
  return all;
}

}  // namespace fettle::access
