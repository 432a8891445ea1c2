#include "runs/schema.h"

namespace fettle::runs {
namespace {

// In SQLite a table is one tree sorted by its key, without a second one from row number to row.
#define FETTLE_TABLE(text) db::Sql{text ") WITHOUT ROWID", text ")"}

// The same for rows whose ids are numbers that grow: SQLite's trees by row number append without splitting pages, and
// compare numbers. The number is the run's, given out once over all workspaces.
#define FETTLE_NUMBERED_TABLE(begin, columns)                                              \
  db::Sql{begin " (workspace TEXT NOT NULL, id INTEGER NOT NULL PRIMARY KEY," columns ")", \
          begin " (workspace TEXT NOT NULL, id BIGINT NOT NULL," columns ", PRIMARY KEY (workspace, id))"}

// The hot row of a run. Partial indexes hold live work alone.
const db::Migration kRunsAndQueue = {
    "runs",
    1,
    "runs, steps and the queue",
    {
        FETTLE_NUMBERED_TABLE(
            "CREATE TABLE runs",
            " state SMALLINT NOT NULL, kind SMALLINT NOT NULL, wait SMALLINT NOT NULL DEFAULT 0,"
            " pool TEXT NOT NULL, workflow TEXT NOT NULL, priority SMALLINT NOT NULL,"
            " client TEXT NOT NULL, platform TEXT NOT NULL, lane TEXT NOT NULL, agent TEXT NOT NULL,"
            " limit_key TEXT NOT NULL, external_id TEXT,"
            " attempt INTEGER NOT NULL DEFAULT 0, generation INTEGER NOT NULL DEFAULT 0,"
            " retry_count INTEGER NOT NULL DEFAULT 0, chain_retries INTEGER NOT NULL DEFAULT 0,"
            " max_retries INTEGER NOT NULL, revoked INTEGER NOT NULL DEFAULT 0,"
            " stalled INTEGER NOT NULL DEFAULT 0, created_at BIGINT NOT NULL, due_at BIGINT, hold_key TEXT,"
            " lease_until BIGINT, lease_ns BIGINT NOT NULL DEFAULT 0, worker TEXT, leased_at BIGINT,"
            " progress_at BIGINT, slots TEXT, chain_started_at BIGINT, started_at BIGINT, finished_at BIGINT,"
            " steps INTEGER NOT NULL DEFAULT 0, open_failures INTEGER NOT NULL DEFAULT 0,"
            " tokens BIGINT NOT NULL DEFAULT 0, cost_usd DOUBLE PRECISION NOT NULL DEFAULT 0,"
            " failure_reason TEXT, bulk_job BIGINT,"
            " CHECK ((state = 3 AND kind = 0) = (lease_until IS NOT NULL)),"
            " CHECK (state <> 3 OR worker IS NOT NULL),"
            " CHECK ((state = 2) = (hold_key IS NOT NULL)),"
            " CHECK ((state = 1) = (wait <> 0)),"
            " CHECK (slots IS NULL OR state = 3)"),
        // Lists of a workspace; in PostgreSQL the primary key.
        {"CREATE UNIQUE INDEX runs_by_workspace ON runs (workspace, id)", ""},
        {"CREATE INDEX runs_ready ON runs (workspace, pool, workflow, priority, id) WHERE state = 0"},
        {"CREATE INDEX runs_due ON runs (due_at) WHERE state = 1"},
        {"CREATE INDEX runs_held ON runs (workspace, hold_key, priority, id) WHERE state = 2"},
        {"CREATE INDEX runs_running ON runs (workspace) WHERE state = 3 AND kind = 1"},
        {"CREATE INDEX runs_leased ON runs (lease_until) WHERE lease_until IS NOT NULL"},
        {"CREATE INDEX runs_to_look_at ON runs (workspace, id) WHERE state = 5 OR state = 6"},
        {"CREATE INDEX runs_by_client ON runs (workspace, client, id) WHERE client <> ''"},
        {"CREATE UNIQUE INDEX runs_by_external_id ON runs (workspace, external_id) WHERE external_id IS NOT NULL"},
        {"CREATE INDEX runs_by_bulk_job ON runs (workspace, bulk_job) WHERE bulk_job IS NOT NULL"},
        FETTLE_NUMBERED_TABLE("CREATE TABLE run_data",
                              " payload TEXT NOT NULL, context TEXT NOT NULL, correlation_id TEXT, trace_id TEXT,"
                              " result TEXT, error TEXT, progress TEXT"),
        {"CREATE INDEX run_data_by_correlation ON run_data (workspace, correlation_id)"
         " WHERE correlation_id IS NOT NULL"},
        {"CREATE INDEX run_data_by_trace ON run_data (workspace, trace_id) WHERE trace_id IS NOT NULL"},
        FETTLE_TABLE("CREATE TABLE run_steps ("
                     " workspace TEXT NOT NULL, run BIGINT NOT NULL, generation INTEGER NOT NULL, step TEXT NOT NULL,"
                     " position INTEGER NOT NULL, state SMALLINT NOT NULL, attempt INTEGER NOT NULL,"
                     " retry_count INTEGER NOT NULL DEFAULT 0, started_at BIGINT NOT NULL, finished_at BIGINT,"
                     " until BIGINT, tokens BIGINT NOT NULL DEFAULT 0, cost_usd DOUBLE PRECISION NOT NULL DEFAULT 0,"
                     " result TEXT, error TEXT,"
                     " PRIMARY KEY (workspace, run, generation, step)"),
        FETTLE_TABLE("CREATE TABLE run_attempts ("
                     " workspace TEXT NOT NULL, run BIGINT NOT NULL, attempt INTEGER NOT NULL,"
                     " ended SMALLINT, worker TEXT, leased_at BIGINT, ended_at BIGINT, error_class TEXT, error TEXT,"
                     " late_call TEXT, late_at BIGINT, late_body TEXT,"
                     " PRIMARY KEY (workspace, run, attempt)"),
        // The step-less policy of a workflow has step ''; that of everything has workflow ''.
        FETTLE_TABLE("CREATE TABLE retry_policies ("
                     " workspace TEXT NOT NULL, workflow TEXT NOT NULL, step TEXT NOT NULL,"
                     " max_retries INTEGER NOT NULL, base_ns BIGINT NOT NULL, factor DOUBLE PRECISION NOT NULL,"
                     " cap_ns BIGINT NOT NULL, elapsed_max_ns BIGINT NOT NULL, retry_after_max_ns BIGINT NOT NULL,"
                     " PRIMARY KEY (workspace, workflow, step)"),
        // `signal` is a name and a key in one text; waiters and signals that came first.
        FETTLE_TABLE("CREATE TABLE run_waits ("
                     " workspace TEXT NOT NULL, signal TEXT NOT NULL, run BIGINT NOT NULL, step TEXT NOT NULL,"
                     " PRIMARY KEY (workspace, signal, run, step)"),
        {"CREATE INDEX run_waits_by_run ON run_waits (workspace, run)"},
        FETTLE_TABLE("CREATE TABLE run_signals ("
                     " workspace TEXT NOT NULL, signal TEXT NOT NULL, id BIGINT NOT NULL, payload TEXT NOT NULL,"
                     " expires_at BIGINT NOT NULL,"
                     " PRIMARY KEY (workspace, signal, id)"),
        {"CREATE INDEX run_signals_expiry ON run_signals (expires_at)"},
        // The record of what went wrong, as agents and dashboards know it.
        FETTLE_TABLE("CREATE TABLE workflow_failures ("
                     " workspace TEXT NOT NULL, id BIGINT NOT NULL, run BIGINT, run_ref TEXT NOT NULL,"
                     " client TEXT NOT NULL, workflow TEXT NOT NULL, step TEXT NOT NULL, kind TEXT NOT NULL,"
                     " message TEXT NOT NULL, retry_attempt INTEGER NOT NULL, status TEXT NOT NULL,"
                     " created_at BIGINT NOT NULL, resolved_at BIGINT, extra TEXT NOT NULL DEFAULT '{}',"
                     " PRIMARY KEY (workspace, id)"),
        {"CREATE INDEX workflow_failures_open ON workflow_failures (workspace, id) WHERE status = 'open'"},
        {"CREATE INDEX workflow_failures_by_run ON workflow_failures (workspace, run) WHERE run IS NOT NULL"},
        FETTLE_TABLE(
            "CREATE TABLE run_usage ("
            " workspace TEXT NOT NULL, month BIGINT NOT NULL, tokens BIGINT NOT NULL, micro_usd BIGINT NOT NULL,"
            " PRIMARY KEY (workspace, month)"),
        // Fairness: a rule for a value of a dimension ('*': each value by itself), and what is in use under each key.
        FETTLE_TABLE("CREATE TABLE run_limits ("
                     " workspace TEXT NOT NULL, dimension TEXT NOT NULL, value TEXT NOT NULL,"
                     " concurrency_max INTEGER, rate_max INTEGER, rate_period_ns BIGINT,"
                     " PRIMARY KEY (workspace, dimension, value)"),
        FETTLE_TABLE("CREATE TABLE run_slots ("
                     " workspace TEXT NOT NULL, slot TEXT NOT NULL, in_use INTEGER NOT NULL DEFAULT 0,"
                     " free_at BIGINT NOT NULL DEFAULT 0,"
                     " PRIMARY KEY (workspace, slot)"),
    }};

const db::Migration kSwitchesAndEffects = {
    "runs",
    2,
    "switches, side effects, policies",
    {
        // An empty part of the reach matches everything. mode 0 pause, 1 kill.
        FETTLE_TABLE("CREATE TABLE switches ("
                     " workspace TEXT NOT NULL, id BIGINT NOT NULL, mode SMALLINT NOT NULL,"
                     " client TEXT NOT NULL, platform TEXT NOT NULL, lane TEXT NOT NULL, workflow TEXT NOT NULL,"
                     " tool TEXT NOT NULL, agent TEXT NOT NULL, reason TEXT NOT NULL,"
                     " thrown_by TEXT NOT NULL, thrown_at BIGINT NOT NULL, revoked INTEGER NOT NULL DEFAULT 0,"
                     " lifted_by TEXT, lifted_at BIGINT, lift_reason TEXT,"
                     " PRIMARY KEY (workspace, id)"),
        {"CREATE INDEX switches_on ON switches (workspace, id) WHERE lifted_at IS NULL"},
        FETTLE_TABLE("CREATE TABLE action_classes ("
                     " workspace TEXT NOT NULL, name TEXT NOT NULL, cache_ns BIGINT NOT NULL,"
                     " fail_open SMALLINT NOT NULL,"
                     " PRIMARY KEY (workspace, name)"),
        FETTLE_TABLE("CREATE TABLE side_effects ("
                     " workspace TEXT NOT NULL, id BIGINT NOT NULL, effect_key TEXT NOT NULL, state SMALLINT NOT NULL,"
                     " client TEXT NOT NULL, platform TEXT NOT NULL, surface TEXT NOT NULL, lane TEXT NOT NULL,"
                     " action TEXT NOT NULL, target TEXT NOT NULL, payload_hash TEXT NOT NULL,"
                     " payload_summary TEXT NOT NULL, occurrence TEXT NOT NULL, policy_snapshot_id TEXT NOT NULL,"
                     " token TEXT NOT NULL, run BIGINT, attempt INTEGER, reservations INTEGER NOT NULL,"
                     " reserved_at BIGINT NOT NULL, expires_at BIGINT NOT NULL, settled_at BIGINT,"
                     " proof TEXT, missing TEXT, result TEXT, note TEXT,"
                     " PRIMARY KEY (workspace, id)"),
        {"CREATE UNIQUE INDEX side_effects_by_key ON side_effects (workspace, effect_key)"},
        {"CREATE INDEX side_effects_open ON side_effects (workspace, id) WHERE state <> 1 AND state <> 4"},
        {"CREATE INDEX side_effects_expiry ON side_effects (expires_at) WHERE state = 0"},
        {"CREATE INDEX side_effects_by_run ON side_effects (workspace, run) WHERE run IS NOT NULL"},
        // `lane` '' is the rule for every lane; `proofs` are names with a blank in between.
        FETTLE_TABLE("CREATE TABLE proof_rules ("
                     " workspace TEXT NOT NULL, action TEXT NOT NULL, lane TEXT NOT NULL, proofs TEXT NOT NULL,"
                     " PRIMARY KEY (workspace, action, lane)"),
        FETTLE_TABLE("CREATE TABLE policy_snapshots ("
                     " workspace TEXT NOT NULL, id TEXT NOT NULL, content TEXT NOT NULL, created_at BIGINT NOT NULL,"
                     " PRIMARY KEY (workspace, id)"),
        FETTLE_TABLE("CREATE TABLE policy_blocks ("
                     " workspace TEXT NOT NULL, id BIGINT NOT NULL, policy TEXT NOT NULL, reason TEXT NOT NULL,"
                     " content_ref TEXT NOT NULL, policy_snapshot_id TEXT NOT NULL, client TEXT NOT NULL,"
                     " platform TEXT NOT NULL, lane TEXT NOT NULL, agent TEXT NOT NULL, run BIGINT,"
                     " blocked_at BIGINT NOT NULL, verdict TEXT, decided_by TEXT, decided_at BIGINT, note TEXT,"
                     " PRIMARY KEY (workspace, id)"),
        {"CREATE INDEX policy_blocks_open ON policy_blocks (workspace, id) WHERE verdict IS NULL"},
    }};

const db::Migration kPeopleAndWorkers = {
    "runs",
    3,
    "approvals, escalations, schedules, workers, bulk jobs, records",
    {
        FETTLE_TABLE("CREATE TABLE approvals ("
                     " workspace TEXT NOT NULL, id BIGINT NOT NULL, run BIGINT, step TEXT NOT NULL,"
                     " client TEXT NOT NULL, title TEXT NOT NULL, details TEXT NOT NULL, role TEXT NOT NULL,"
                     " state SMALLINT NOT NULL, requested_at BIGINT NOT NULL, expires_at BIGINT,"
                     " decided_by TEXT, decided_at BIGINT, note TEXT, edited TEXT,"
                     " PRIMARY KEY (workspace, id)"),
        {"CREATE INDEX approvals_open ON approvals (workspace, id) WHERE state = 0"},
        {"CREATE INDEX approvals_expiry ON approvals (expires_at) WHERE state = 0 AND expires_at IS NOT NULL"},
        {"CREATE INDEX approvals_by_run ON approvals (workspace, run, step) WHERE run IS NOT NULL"},
        FETTLE_TABLE("CREATE TABLE escalations ("
                     " workspace TEXT NOT NULL, id BIGINT NOT NULL, run BIGINT, client TEXT NOT NULL,"
                     " subject TEXT NOT NULL, details TEXT NOT NULL, severity SMALLINT NOT NULL, owner TEXT NOT NULL,"
                     " opened_at BIGINT NOT NULL, closed_at BIGINT, closed_by TEXT, note TEXT,"
                     " PRIMARY KEY (workspace, id)"),
        {"CREATE INDEX escalations_open ON escalations (workspace, id) WHERE closed_at IS NULL"},
        FETTLE_TABLE("CREATE TABLE schedules ("
                     " workspace TEXT NOT NULL, name TEXT NOT NULL, cron TEXT NOT NULL, time_zone TEXT NOT NULL,"
                     " request TEXT NOT NULL, paused SMALLINT NOT NULL DEFAULT 0, catch_up SMALLINT NOT NULL,"
                     " next_at BIGINT, last_at BIGINT, last_run BIGINT, error TEXT,"
                     " PRIMARY KEY (workspace, name)"),
        {"CREATE INDEX schedules_due ON schedules (next_at) WHERE next_at IS NOT NULL AND paused = 0"},
        FETTLE_TABLE("CREATE TABLE workers ("
                     " workspace TEXT NOT NULL, id TEXT NOT NULL, pool TEXT NOT NULL, capacity INTEGER NOT NULL,"
                     " version TEXT NOT NULL, labels TEXT NOT NULL, draining SMALLINT NOT NULL DEFAULT 0,"
                     " registered_at BIGINT NOT NULL, seen_at BIGINT NOT NULL, progress_at BIGINT,"
                     " PRIMARY KEY (workspace, id)"),
        FETTLE_TABLE("CREATE TABLE bulk_jobs ("
                     " workspace TEXT NOT NULL, id BIGINT NOT NULL, action SMALLINT NOT NULL, filter TEXT NOT NULL,"
                     " from_scratch SMALLINT NOT NULL, reason TEXT NOT NULL, actor TEXT NOT NULL,"
                     " state SMALLINT NOT NULL, cursor BIGINT NOT NULL, up_to BIGINT NOT NULL,"
                     " total INTEGER NOT NULL, done INTEGER NOT NULL DEFAULT 0, skipped INTEGER NOT NULL DEFAULT 0,"
                     " created_at BIGINT NOT NULL, finished_at BIGINT,"
                     " PRIMARY KEY (workspace, id)"),
        {"CREATE INDEX bulk_jobs_open ON bulk_jobs (id) WHERE state = 0"},
        // agent_runs, agent_logs and workflow_triggers under the names that their writers use; what has no column of
        // its own stays in `fields`.
        FETTLE_TABLE("CREATE TABLE records ("
                     " workspace TEXT NOT NULL, collection TEXT NOT NULL, id TEXT NOT NULL, number BIGINT NOT NULL,"
                     " client TEXT NOT NULL, ref TEXT NOT NULL, status TEXT NOT NULL, fields TEXT NOT NULL,"
                     " created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL,"
                     " PRIMARY KEY (workspace, collection, id)"),
        {"CREATE INDEX records_by_time ON records (workspace, collection, number)"},
        {"CREATE INDEX records_by_ref ON records (workspace, collection, ref, number) WHERE ref <> ''"},
        {"CREATE INDEX records_by_status ON records (workspace, collection, status, number) WHERE status <> ''"},
    }};

// Without statistics SQLite's planner takes the primary key (workspace) over a partial index that holds a millionth of
// the rows, and upkeep would read every run that ever finished. So it is told what a large ledger looks like. ANALYZE
// makes the table of statistics, and the last statement has them read; PostgreSQL gathers its own.
const db::Migration kStatistics = {
    "runs",
    4,
    "statistics for SQLite's planner",
    {
        {"ANALYZE", ""},
        {"DELETE FROM sqlite_stat1 WHERE tbl IN ('runs', 'run_data', 'run_signals', 'run_waits', 'workflow_failures',"
         " 'switches', 'side_effects', 'policy_blocks', 'approvals', 'escalations', 'bulk_jobs', 'schedules')",
         ""},
        {"INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES "
         "('runs', 'runs_by_workspace', '5000000 5000000 1'),"
         "('runs', 'runs_ready', '1000 1000 1000 100 100 1'),"
         "('runs', 'runs_due', '1000 2'),"
         "('runs', 'runs_held', '1000 1000 100 100 1'),"
         "('runs', 'runs_leased', '1000 2'),"
         "('runs', 'runs_running', '1000 1000'),"
         "('runs', 'runs_to_look_at', '1000 1000 1'),"
         "('runs', 'runs_by_client', '5000000 5000000 25000 1'),"
         "('runs', 'runs_by_external_id', '5000000 5000000 1'),"
         "('runs', 'runs_by_bulk_job', '10000 10000 100'),"
         "('run_data', NULL, '5000000'),"
         "('run_data', 'run_data_by_correlation', '5000000 5000000 2'),"
         "('run_data', 'run_data_by_trace', '5000000 5000000 2'),"
         "('run_signals', 'run_signals', '100000 100000 10 1'),"
         "('run_signals', 'run_signals_expiry', '100000 2'),"
         "('run_waits', 'run_waits', '100000 100000 2 1 1'),"
         "('run_waits', 'run_waits_by_run', '100000 100000 1'),"
         "('workflow_failures', 'workflow_failures', '1000000 1000000 1'),"
         "('workflow_failures', 'workflow_failures_open', '1000 1000 1'),"
         "('workflow_failures', 'workflow_failures_by_run', '1000000 1000000 2'),"
         "('switches', 'switches', '10000 10000 1'),"
         "('switches', 'switches_on', '10 10 1'),"
         "('side_effects', 'side_effects', '5000000 5000000 1'),"
         "('side_effects', 'side_effects_by_key', '5000000 5000000 1'),"
         "('side_effects', 'side_effects_open', '1000 1000 1'),"
         "('side_effects', 'side_effects_expiry', '1000 2'),"
         "('side_effects', 'side_effects_by_run', '5000000 5000000 2'),"
         "('policy_blocks', 'policy_blocks', '100000 100000 1'),"
         "('policy_blocks', 'policy_blocks_open', '1000 1000 1'),"
         "('approvals', 'approvals', '1000000 1000000 1'),"
         "('approvals', 'approvals_open', '1000 1000 1'),"
         "('approvals', 'approvals_expiry', '1000 2'),"
         "('approvals', 'approvals_by_run', '1000000 1000000 2 1'),"
         "('escalations', 'escalations', '100000 100000 1'),"
         "('escalations', 'escalations_open', '1000 1000 1'),"
         "('bulk_jobs', 'bulk_jobs', '10000 10000 1'),"
         "('bulk_jobs', 'bulk_jobs_open', '10 1'),"
         "('schedules', 'schedules', '1000 1000 1'),"
         "('schedules', 'schedules_due', '1000 2')",
         ""},
        {"ANALYZE sqlite_schema", ""},
    }};

const db::Migration kOfTheirOwn = {
    "runs",
    5,
    "who answers for an agent's work; a run's own retries and time-out; how long steps took",
    {
        {"ALTER TABLE run_data ADD COLUMN asked_by TEXT"},
        {"ALTER TABLE run_data ADD COLUMN retry TEXT"},
        {"ALTER TABLE run_data ADD COLUMN timeout_ns BIGINT"},
        {"ALTER TABLE run_steps ADD COLUMN duration_ms BIGINT"},
        // Of the attempt that runs; set by its lease alone.
        {"ALTER TABLE runs ADD COLUMN deadline_at BIGINT"},
        {"CREATE INDEX runs_deadline ON runs (deadline_at) WHERE state = 3 AND deadline_at IS NOT NULL"},
        {"INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('runs', 'runs_deadline', '1000 2')", ""},
        {"ANALYZE sqlite_schema", ""},
    }};

const db::Migration kPieces = {
    "runs",
    6,
    "kills in pieces; whose a worker is",
    {
        // 1: a kill that has not taken all leases in its reach yet.
        {"ALTER TABLE switches ADD COLUMN revoking SMALLINT NOT NULL DEFAULT 0"},
        {"CREATE INDEX switches_revoking ON switches (workspace, id) WHERE revoking = 1"},
        // Who registered it, as audits name actors.
        {"ALTER TABLE workers ADD COLUMN registered_by TEXT NOT NULL DEFAULT ''"},
        {"INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('switches', 'switches_revoking', '2 2 1')", ""},
        {"ANALYZE sqlite_schema", ""},
    }};

}  // namespace

const db::Migrations& migrations() {
  static const db::Migrations all = {kRunsAndQueue, kSwitchesAndEffects, kPeopleAndWorkers,
                                     kStatistics,   kOfTheirOwn,         kPieces};
  return all;
}

}  // namespace fettle::runs
