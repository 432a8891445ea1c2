// Generated from docs/openapi.yaml and packs/identifiers.yaml by `npm run types`. Do not edit.

// What a filter may be named, besides the parameters of each path.
export const IDENTIFIERS: readonly string[] = ["trace_id","span_id","request_id","correlation_id","client_id","platform","surface","lane","execution_lane","blueprint_id","plan_id","asset_id","calendar_item_id","episode_id","job_id","run_id","step_id","tool_id","runner_id","runner_pool","ticket_id","workflow","agent","actor_type","actor_id","role","policy_snapshot_id","error_code","model","provider"];

export type Time = string;

export type TimeMs = string;

export type TimeMsOrNull = string | null;

export type RunState = "ready" | "waiting" | "held" | "running" | "succeeded" | "failed" | "dead" | "cancelled" | "discarded";

export type Run = {
  readonly run_id: string;
  readonly state: RunState;
  readonly kind: "managed" | "observed";
  readonly dead_letter: boolean;
  readonly workflow: string;
  readonly client_id?: string | null;
  readonly platform?: string | null;
  readonly lane?: string | null;
  readonly agent?: string | null;
  readonly pool?: string;
  readonly priority?: number;
  readonly concurrency_key?: string | null;
  readonly attempt: number;
  /** Retries made. */
  readonly retry_count: number;
  /** Retries after the first try. */
  readonly max_retries: number;
  readonly failure_reason: string | null;
  /** scheduled, backoff, sleep, signal or approval. */
  readonly waits_for?: string | null;
  /** What holds it: a limit, a switch or a pause. */
  readonly held_by?: string | null;
  readonly due_at?: TimeMsOrNull;
  readonly created_at: TimeMs;
  readonly started_at?: TimeMsOrNull;
  readonly finished_at?: TimeMsOrNull;
  readonly tokens: number;
  readonly cost_usd: number;
  readonly open_failures?: number;
  readonly correlation_id?: string | null;
  readonly trace_id?: string | null;
  /** name, code, message, class, http_status, stack, step: those that are known. */
  readonly last_error: Readonly<Record<string, unknown>> | null;
};

export type RunList = {
  readonly items: readonly Run[];
  readonly next_cursor: NextCursor;
};

export type Schedule = {
  readonly name: string;
  readonly cron: string;
  readonly time_zone: string;
  readonly paused: boolean;
  readonly catch_up: boolean;
  readonly next_at: TimeMsOrNull;
  readonly last_at: TimeMsOrNull;
  readonly last_run_id: string | null;
  /** Why it began nothing the last time. */
  readonly last_error: string | null;
  readonly run: {
    readonly workflow: string;
    readonly client_id: string | null;
    readonly platform: string | null;
    readonly lane: string | null;
    readonly agent: string | null;
    readonly pool: string;
    readonly priority: number;
    readonly concurrency_key: string | null;
    readonly max_retries: number | null;
    /** For whoever may see payloads. */
    readonly payload?: unknown;
    readonly context: Readonly<Record<string, unknown>>;
  };
};

export type RetryPolicy = {
  /** None: every workflow. */
  readonly workflow?: string | null;
  /** None: the run itself. */
  readonly step?: string | null;
  /** After the first try. */
  readonly max_retries?: number;
  readonly base_ms?: number;
  readonly factor?: number;
  readonly cap_ms?: number;
  /** From the first try. */
  readonly elapsed_max_ms?: number;
  /** Asked to wait longer: dead letter. */
  readonly retry_after_max_ms?: number;
};

export type Limit = {
  /** A key is the `concurrency_key` of runs. */
  readonly dimension: "client" | "platform" | "workflow" | "key";
  /** `*`: each value by itself. */
  readonly value?: string;
  /** Runs at work at once. */
  readonly concurrency_max?: number | null;
  /** Starts in each period. One of the two is needed. */
  readonly rate_max?: number | null;
  readonly rate_period_ms?: number | null;
};

export type ActionClass = {
  /** As askers of may-I name it. */
  readonly name?: string;
  /** How long an answer holds. */
  readonly cache_ms?: number;
  /** What askers do when nobody answers: fail open, or closed. */
  readonly on_unreachable?: "allow" | "refuse";
};

export type RunDetail = Run & {
  readonly lease: {
    readonly runner_id?: string | null;
    readonly leased_at?: TimeMsOrNull;
    readonly lease_expires_at?: TimeMsOrNull;
    readonly last_progress_at?: TimeMsOrNull;
    readonly age_ms?: number;
    /** It is beating, and makes no progress. */
    readonly stalled?: boolean;
  } | null;
  /** Grows with each retry from the start. */
  readonly generation?: number;
  /** What travels with the run. */
  readonly context?: Readonly<Record<string, unknown>>;
  readonly payload?: unknown;
  readonly result?: unknown;
  readonly progress?: unknown;
  readonly steps: readonly ({
    readonly step: number;
    readonly name: string;
    readonly generation?: number;
    readonly status: "running" | "completed" | "failed" | "waiting";
    readonly attempt: number;
    readonly retry_count: number;
    readonly started_at: TimeMsOrNull;
    readonly finished_at: TimeMsOrNull;
    readonly until?: TimeMsOrNull;
    readonly metrics: {
      readonly duration_ms: number | null;
      readonly tokens: number;
      readonly cost_usd: number;
    };
    readonly result?: unknown;
    /** With the stack. */
    readonly error: Readonly<Record<string, unknown>> | null;
  })[];
  readonly attempts: readonly ({
    readonly attempt: number;
  })[];
};

export type BulkJob = {
  readonly job_id: string;
  readonly action: "retry" | "discard";
  readonly state: "running" | "finished" | "aborted";
  readonly total: number;
  readonly done: number;
  /** Changed by somebody else in between. */
  readonly skipped: number;
  readonly reason?: string;
  readonly actor?: string;
  readonly created_at?: TimeMs;
  readonly finished_at?: TimeMsOrNull;
};

export type BulkJobDetail = BulkJob & {
  readonly runs: readonly ({
    readonly run_id: string;
    readonly state: RunState;
    readonly failure_reason?: string | null;
  })[];
};

export type Switch = {
  readonly id: string;
  readonly mode: "kill" | "pause";
  readonly reason: string;
  readonly client_id?: string | null;
  readonly platform?: string | null;
  readonly lane?: string | null;
  readonly workflow?: string | null;
  readonly tool?: string | null;
  readonly agent?: string | null;
  readonly thrown_by: string;
  readonly thrown_at: TimeMs;
  /** Leases that it took away so far. */
  readonly revoked: number;
  /** A kill that has not taken all leases in its reach yet: they follow at once, piece by piece. */
  readonly revoking?: boolean;
  /** Leases in its reach that run still; null where it is off, or stops a tool and no leases. Of clients that the caller may see. */
  readonly in_flight?: number | null;
  readonly resumed_by?: string | null;
  readonly resumed_at?: TimeMsOrNull;
  readonly resume_reason?: string | null;
};

export type InFlight = {
  readonly run_id: string;
  readonly workflow: string;
  readonly client_id?: string | null;
  readonly runner_id?: string | null;
  readonly leased_at?: TimeMsOrNull;
  readonly last_progress_at?: TimeMsOrNull;
};

export type MayI = {
  readonly allowed: boolean;
  readonly reason: string | null;
  readonly switch: {
    readonly id?: string;
    readonly reason?: string;
  } | null;
  readonly cache_ms: number;
  readonly on_unreachable: "allow" | "refuse";
};

export type SideEffect = {
  readonly side_effect_id: string;
  readonly state: string;
  readonly action: string;
  readonly target: string;
  readonly payload_hash: string;
  readonly reservations: number;
  readonly proof: Readonly<Record<string, unknown>>;
};

export type ProofRuleInForce = {
  readonly action: string;
  readonly execution_lane: string | null;
  /** Holds while the workspace has set no rule in its place. */
  readonly built_in: boolean;
  readonly proofs: readonly string[];
};

export type PolicySnapshot = {
  readonly policy_snapshot_id: string;
  readonly content: unknown;
};

export type PolicyBlock = {
  readonly id: string;
  readonly policy: string;
  readonly reason: string;
  readonly verdict: string | null;
};

export type Approval = {
  readonly id: string;
  readonly state: "open" | "approved" | "rejected" | "expired" | "withdrawn";
  readonly title: string;
  readonly details: unknown;
  readonly role: string;
  readonly requested_at: TimeMs;
  readonly decided_by?: string | null;
  readonly note?: string | null;
};

export type Escalation = {
  readonly id: string;
  readonly subject: string;
  readonly severity: number;
  readonly owner: string | null;
  readonly opened_at: TimeMs;
  /** Until it was resolved. */
  readonly age_ms?: number;
};

export type BulkJobList = {
  readonly items: readonly BulkJob[];
  readonly next_cursor: NextCursor;
};

export type SwitchList = {
  readonly items: readonly Switch[];
  readonly next_cursor: NextCursor;
};

export type InFlightList = {
  readonly items: readonly InFlight[];
  readonly next_cursor: NextCursor;
};

export type SideEffectList = {
  readonly items: readonly SideEffect[];
  readonly next_cursor: NextCursor;
};

export type ProofRuleList = {
  readonly items: readonly ProofRuleInForce[];
  readonly next_cursor: NextCursor;
};

export type PolicyBlockList = {
  readonly items: readonly PolicyBlock[];
  readonly next_cursor: NextCursor;
};

export type ApprovalList = {
  readonly items: readonly Approval[];
  readonly next_cursor: NextCursor;
};

export type EscalationList = {
  readonly items: readonly Escalation[];
  readonly next_cursor: NextCursor;
};

export type WorkerList = {
  readonly items: readonly ({
    readonly runner_id: string;
    readonly pool: string;
    readonly state: "free" | "busy" | "lost" | "draining";
    readonly capacity: number;
    readonly in_use: number;
    readonly seen_at: TimeMs;
  })[];
  readonly pools: readonly ({
    readonly pool: string;
    readonly workers: number;
    readonly lost: number;
    readonly draining: number;
    readonly capacity: number;
    readonly in_use: number;
    /** In use over capacity. */
    readonly runner_capacity_in_use?: number;
  })[];
  readonly next_cursor: NextCursor;
};

export type RecordList = {
  readonly items: readonly (Readonly<Record<string, unknown>>)[];
  readonly next_cursor: NextCursor;
};

export type AuditList = {
  readonly items: readonly ({
    readonly position: number;
    readonly at: TimeMs;
    /** What is hashed. Runs of one report that succeeded and differ in nothing else share a record, whose target_ids names each; it is found by each of them as target_id and as run_id. */
    readonly entry: Readonly<Record<string, unknown>>;
    readonly hash: string;
    /** after, before, payload, summary; null when withheld or erased. */
    readonly details: Readonly<Record<string, unknown>> | null;
  })[];
  readonly next_cursor: NextCursor;
};

export type AuditLogList = {
  readonly items: readonly ({
    readonly position: number;
    readonly at: TimeMs;
    /** What is hashed. */
    readonly entry: Readonly<Record<string, unknown>>;
    readonly hash: string;
    /** after, before, payload, summary; null when withheld or erased. */
    readonly details: Readonly<Record<string, unknown>> | null;
    readonly audit_id: string | null;
    readonly action_type: string;
    readonly result: "success" | "fail" | "blocked";
    readonly created_at: TimeMs;
    readonly actor_type?: string | null;
    readonly actor_id?: string | null;
    readonly role?: string | null;
    readonly client_id?: string | null;
    readonly platform?: string | null;
    readonly surface?: string | null;
    readonly lane?: string | null;
    readonly payload_hash?: string | null;
    readonly policy_snapshot_id?: string | null;
    readonly request_id?: string | null;
    readonly correlation_id?: string | null;
    readonly trace_id?: string | null;
    readonly span_id?: string | null;
    readonly job_id?: string | null;
    readonly ticket_id?: string | null;
    readonly agent_id?: string | null;
    readonly tool_name?: string | null;
    readonly run_id?: string | null;
    readonly step_id?: string | null;
    /** Who wrote the record, where that is not who did it. */
    readonly reported_by?: string | null;
    readonly proof?: readonly string[];
  })[];
  readonly next_cursor: NextCursor;
};

export type Sha256 = string;

export type AuditCheckpoint = {
  readonly at: string;
  readonly hash: Sha256;
  readonly key: Sha256;
  readonly root: Sha256;
  readonly signature: string;
  readonly size: number;
  readonly workspace: string;
};

export type ProvenAudit = {
  readonly position: number;
  readonly at: TimeMs;
  /** What is hashed. */
  readonly entry: Readonly<Record<string, unknown>>;
  readonly hash: Sha256;
  /** after, before, payload, summary; null when withheld or erased. */
  readonly details: Readonly<Record<string, unknown>> | null;
  /** Null until a checkpoint covers the record, within a minute. */
  readonly proof: null | {
    readonly leaf_hash: Sha256;
    /** From 0. */
    readonly leaf_index: number;
    /** As RFC 6962 has it. */
    readonly path: readonly Sha256[];
    readonly checkpoint: AuditCheckpoint;
  };
};

export type NextCursor = string | null;

export type Partial = boolean;

export type Attributes = Readonly<Record<string, unknown>>;

export type Identifiers = Readonly<Record<string, string>>;

export type Event = {
  readonly ts: Time;
  readonly name: string;
  readonly attrs: Attributes;
};

export type Link = {
  readonly trace_id: string;
  readonly span_id: string;
  readonly trace_state: string;
  readonly attrs: Attributes;
};

export type Span = {
  readonly ts: Time;
  /** Lower-case hex; a foreign id as it was sent. */
  readonly trace_id: string;
  readonly span_id: string;
  /** Empty for a root. */
  readonly parent_span_id: string;
  readonly name: string;
  /** internal, server, client, producer, consumer, unspecified, or the number of an unknown kind. */
  readonly kind: string;
  /** unset, ok or error. */
  readonly status: string;
  readonly status_message: string;
  readonly duration_ms: number;
  readonly service_name: string;
  readonly scope_name: string;
  readonly scope_version: string;
  readonly trace_state: string;
  readonly flags: number;
  readonly attrs: Attributes;
  readonly resource: Attributes;
  readonly events: readonly Event[];
  readonly links: readonly Link[];
  readonly ids: Identifiers;
  readonly dropped_attributes_count: number;
  readonly dropped_events_count: number;
  readonly dropped_links_count: number;
};

export type Log = {
  readonly ts: Time;
  readonly observed_ts: Time;
  readonly severity_number: number;
  /** As the source spelt it. */
  readonly severity_text: string;
  readonly level: "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "unset";
  readonly body: string;
  readonly event_name: string;
  readonly trace_id: string;
  readonly span_id: string;
  readonly service_name: string;
  readonly attrs: Attributes;
  readonly resource: Attributes;
  readonly ids: Identifiers;
  readonly scope_name: string;
  readonly flags: number;
};

export type Trace = {
  readonly trace_id: string;
  readonly spans: readonly Span[];
  readonly partial: Partial;
  /** The limit that cut the trace short, if one did. */
  readonly truncated: null | {
    readonly reason: "spans" | "bytes";
    readonly limit: number;
  };
};

export type TraceOutline = {
  readonly trace_id: string;
  readonly start_ts: Time;
  readonly names: readonly string[];
  readonly services: readonly string[];
  readonly span_count: number;
  readonly error_count: number;
  /** The trace has more spans than are shown; counts are of those shown. */
  readonly partial: boolean;
  /** By start: span id, index of the parent or -1, index into names, index into services, start after start_ts in µs, duration in µs, status (0 unset, 1 ok, 2 error), kind. */
  readonly spans: readonly (readonly [string, number, number, number, number, number, number, string])[];
};

export type DomainEvent = {
  readonly ts: Time;
  readonly event_id: string;
  readonly name: string;
  readonly trace_id: string;
  readonly ids: Identifiers;
  readonly data: Readonly<Record<string, unknown>>;
};

export type KindSummary = {
  readonly kind: string;
  readonly traces: number;
  readonly logs: number;
  readonly events: number;
  readonly first_ts: Time;
  readonly last_ts: Time;
};

export type Balance = {
  readonly received: number;
  /** Sent again within ten minutes. */
  readonly duplicate: number;
  /** By reason. */
  readonly rejected: Readonly<Record<string, number>>;
  readonly redacted_away: number;
  readonly stored: number;
  readonly sampled_out: number;
  readonly expired: number;
  /** Durable in the spool and not readable yet. */
  readonly pending: number;
  readonly balanced: boolean;
};

export type IngestStatus = {
  /** Age of the oldest acknowledged record that is not readable yet. */
  readonly lag_ms: number;
  readonly readable_watermark_ts: string | null;
  readonly rates: {
    readonly spans_per_second: number;
    readonly logs_per_second: number;
    readonly points_per_second: number;
  };
  readonly spool: {
    readonly bytes: number;
    readonly bytes_max: number;
    readonly oldest_age_ms: number;
  };
  /** Records over the last five minutes. */
  readonly rejected_recent: number;
  /** Requests told to come again for want of room over the last five minutes, by HTTP or gRPC. */
  readonly dropped_recent: number;
  /** Rows set aside because the store will never take them. */
  readonly refused_rows: number;
  readonly engine: {
    readonly state: string;
    readonly restarts: number;
  };
  /** The clocks of the senders heard in the last five minutes, newest first, at most 256; from the newest event time of each request. */
  readonly skew: readonly ({
    /** service.name */
    readonly sender: string;
    /** The sender's clock is ahead of the server's by at least this. */
    readonly skew_ms: number;
    /** Its promptest request was so late, or its clock is behind: these look alike. */
    readonly delay_ms: number;
  })[];
};

export type Me = {
  /** What is sent with this token goes here; nothing else can be read with it. */
  readonly workspace: string;
  /** What the configuration calls the token, or the first 8 hex digits of its SHA-256. */
  readonly name: string;
  /** `admin` includes the others, `operate` includes `read`. */
  readonly scopes: readonly ("ingest" | "read" | "work" | "operate" | "admin")[];
  /** The only clients it may read; null for all. */
  readonly clients: readonly string[] | null;
  /** The server runs with --dev and asks for no token. */
  readonly development: boolean;
};

export type Session = {
  readonly user_id: string;
  readonly email: string;
  readonly name: string;
  /** The one named by X-Fettle-Workspace, or one they belong to. */
  readonly workspace: string;
  readonly role: RoleName;
  /** The only clients they see; null for all. */
  readonly clients: readonly string[] | null;
  /** Whether they see payloads. */
  readonly payloads: boolean;
  readonly workspaces: readonly ({
    readonly id: string;
    readonly name: string;
  })[];
  /** Each right with true, or the sentence that says who has it. */
  readonly can: Readonly<Record<string, boolean | string>>;
  readonly csrf_token: string;
};

export type RoleName = "viewer" | "operator" | "manager" | "admin" | "owner";

export type Links = {
  readonly links: readonly ({
    readonly id: string;
    readonly purpose: "first_owner" | "invitation" | "password_reset";
    readonly email: string;
    readonly role: RoleName;
    readonly clients: readonly string[] | null;
    readonly payloads: boolean | null;
    readonly created_by: string;
    readonly created_at: string;
    readonly expires_at: string;
  })[];
};

export type Members = {
  readonly members: readonly ({
    readonly user_id: string;
    readonly email: string;
    readonly name: string;
    readonly role: RoleName;
    readonly clients: readonly string[] | null;
    readonly payloads: boolean | null;
    readonly disabled: boolean;
    readonly created_at: string;
  })[];
};

export type ScopeName = "ingest" | "read" | "work" | "operate" | "admin";

export type Tokens = {
  readonly tokens: readonly ({
    readonly id: string;
    readonly name: string;
    /** Its last four characters. */
    readonly hint: string;
    readonly scopes: readonly ScopeName[];
    readonly clients: readonly string[] | null;
    readonly payloads: boolean | null;
    readonly created_by: string;
    readonly created_at: string;
    readonly expires_at: string | null;
    readonly revoked_at: string | null;
    /** To a minute. */
    readonly last_used_at: string | null;
  })[];
};

export type Webhook = {
  readonly id: string;
  /** http or https, without user, password or fragment. */
  readonly url: string;
  readonly description: string;
  /** Types such as `run.succeeded`, prefixes such as `run.*`, or `*`. */
  readonly event_types: readonly string[];
  /** Null for all; or events of these clients alone. */
  readonly clients: readonly string[] | null;
  readonly enabled: boolean;
  /** `manual`, or `gone`: the endpoint answered 410. */
  readonly disabled_reason: string | null;
  readonly disabled_at: TimeMsOrNull;
  /** Until then two secrets sign. */
  readonly prior_secret_until: TimeMsOrNull;
  /** Events for which there was no room among its deliveries. */
  readonly dropped: number;
  readonly created_by: string;
  readonly created_at: TimeMs;
  readonly updated_at: TimeMs;
};

export type WebhookDelivery = {
  readonly id: string;
  readonly webhook_id: string;
  /** The `webhook-id` of every attempt. */
  readonly event_id: string;
  readonly event_type: string;
  readonly state: "pending" | "delivered" | "dead";
  /** Of a dead one: `refused` (an answer that trying again does not mend), `gone` (410), `gave_up` (a day is over). */
  readonly reason: string | null;
  readonly attempts: number;
  readonly created_at: TimeMs;
  readonly next_attempt_at: TimeMsOrNull;
  readonly finished_at: TimeMsOrNull;
  /** Of the last answer. */
  readonly status: number | null;
  readonly latency_ms: number | null;
  /** Why there was no answer. */
  readonly error: string | null;
  /** Of the last answer, at most 1 KiB, redacted. */
  readonly excerpt: string | null;
};

export type WebhookDeliveryWithHistory = {
  readonly id: string;
  readonly webhook_id: string;
  /** The `webhook-id` of every attempt. */
  readonly event_id: string;
  readonly event_type: string;
  readonly state: "pending" | "delivered" | "dead";
  /** Of a dead one: `refused` (an answer that trying again does not mend), `gone` (410), `gave_up` (a day is over). */
  readonly reason: string | null;
  readonly attempts: number;
  readonly created_at: TimeMs;
  readonly next_attempt_at: TimeMsOrNull;
  readonly finished_at: TimeMsOrNull;
  /** Of the last answer. */
  readonly status: number | null;
  readonly latency_ms: number | null;
  /** Why there was no answer. */
  readonly error: string | null;
  /** Of the last answer, at most 1 KiB, redacted. */
  readonly excerpt: string | null;
  readonly history: readonly ({
    readonly number: number;
    readonly at: TimeMs;
    readonly status: number | null;
    readonly latency_ms: number | null;
    readonly error: string | null;
    readonly excerpt: string | null;
  })[];
};

export type WebhookList = {
  readonly items: readonly Webhook[];
  readonly next_cursor: NextCursor;
};

export type WebhookDeliveryList = {
  readonly items: readonly WebhookDelivery[];
  readonly next_cursor: NextCursor;
};

export type Plan = {
  readonly name?: string;
  /** Names, or beginnings that end in an asterisk; none for all. */
  readonly workflows?: readonly string[];
  /** Whether the work of agents may run. */
  readonly agents?: boolean;
  readonly concurrent_runs_max?: number | null;
  readonly month_tokens_max?: number | null;
  /** Millionths of a US dollar. */
  readonly month_micro_usd_max?: number | null;
};

export type Place = {
  readonly id: string;
  readonly name: string;
  readonly created_at: string;
};

export type Workspace = {
  readonly id: string;
  readonly name: string;
  readonly plan: Plan;
  /** For each pack the roles that may run agents. Without any, operators and above may. */
  readonly run_ai: Readonly<Record<string, readonly RoleName[]>>;
  readonly created_at: string;
};

export interface ApiGet {
  readonly "/api/v1/traces/{trace_id}": {
    readonly query: {};
    readonly answer: Trace;
  };
  readonly "/api/v1/traces/{trace_id}/outline": {
    readonly query: {};
    readonly answer: TraceOutline;
  };
  readonly "/api/v1/spans": {
    readonly query: {
      readonly from?: string;
      readonly to?: string;
      readonly trace_id?: string;
      readonly span_id?: string;
      readonly service?: string;
      readonly name?: string;
      readonly status?: "unset" | "ok" | "error";
      readonly kind?: "internal" | "server" | "client" | "producer" | "consumer" | "unspecified";
      readonly duration_ms_min?: number;
      readonly duration_ms_max?: number;
      readonly q?: string;
      readonly filters?: Readonly<Record<string, string>>;
      readonly order?: "desc" | "asc";
      readonly limit?: number;
      readonly cursor?: string;
    };
    readonly answer: {
      readonly spans: readonly Span[];
      readonly next_cursor: NextCursor;
      readonly partial: Partial;
    };
  };
  readonly "/api/v1/logs": {
    readonly query: {
      readonly from?: string;
      readonly to?: string;
      readonly trace_id?: string;
      readonly span_id?: string;
      readonly service?: string;
      readonly level?: "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "unset";
      readonly event_name?: string;
      readonly q?: string;
      readonly filters?: Readonly<Record<string, string>>;
      readonly order?: "desc" | "asc";
      readonly limit?: number;
      readonly cursor?: string;
    };
    readonly answer: {
      readonly logs: readonly Log[];
      readonly next_cursor: NextCursor;
      readonly partial: Partial;
    };
  };
  readonly "/api/v1/logs/histogram": {
    readonly query: {
      readonly from?: string;
      readonly to?: string;
      readonly trace_id?: string;
      readonly span_id?: string;
      readonly service?: string;
      readonly level?: "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "unset";
      readonly event_name?: string;
      readonly q?: string;
      readonly filters?: Readonly<Record<string, string>>;
      readonly buckets?: number;
    };
    readonly answer: {
      readonly from: Time;
      readonly to: Time;
      readonly bucket_ms: number;
      readonly total: number;
      readonly partial: Partial;
      readonly buckets: readonly ({
        readonly ts: Time;
        readonly trace: number;
        readonly debug: number;
        readonly info: number;
        readonly warn: number;
        readonly error: number;
        readonly fatal: number;
        readonly unset: number;
      })[];
    };
  };
  readonly "/api/v1/logs/tail": {
    readonly query: {
      readonly from?: string;
      readonly trace_id?: string;
      readonly span_id?: string;
      readonly service?: string;
      readonly level?: "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "unset";
      readonly event_name?: string;
      readonly q?: string;
      readonly filters?: Readonly<Record<string, string>>;
      readonly last_event_id?: string;
    };
    readonly answer: unknown;
  };
  readonly "/api/v1/stream": {
    readonly query: {
      readonly topics?: string;
      readonly filters?: Readonly<Record<string, string>>;
      readonly last_event_id?: string;
    };
    readonly answer: unknown;
  };
  readonly "/api/v1/journeys/{value}": {
    readonly query: {
      readonly kind?: string;
      readonly items?: string;
      readonly from?: string;
      readonly to?: string;
      readonly limit?: number;
      readonly cursor?: string;
    };
    readonly answer: {
      readonly value: string;
      readonly kinds: readonly KindSummary[];
      /** Newest first, at most 1,000. */
      readonly trace_ids: readonly string[];
      readonly items: readonly ({
        readonly type: "span";
      } & Span | {
        readonly type: "log";
      } & Log | {
        readonly type: "event";
      } & DomainEvent)[];
      readonly next_cursor: NextCursor;
      readonly partial: Partial;
    };
  };
  readonly "/api/v1/resolve": {
    readonly query: {
      readonly id?: string;
    };
    readonly answer: {
      readonly id: string;
      readonly kinds: readonly KindSummary[];
    };
  };
  readonly "/api/v1/runs": {
    readonly query: {
      readonly state?: "ready" | "waiting" | "held" | "running" | "succeeded" | "failed" | "dead" | "cancelled" | "discarded";
      readonly workflow?: string;
      readonly client_id?: string;
      readonly platform?: string;
      readonly lane?: string;
      readonly agent?: string;
      readonly pool?: string;
      readonly runner_id?: string;
      readonly failure_reason?: string;
      readonly correlation_id?: string;
      readonly trace_id?: string;
      readonly from?: string;
      readonly to?: string;
      readonly limit?: number;
      readonly cursor?: string;
    };
    readonly answer: RunList;
  };
  readonly "/api/v1/runs/failed": {
    readonly query: {
      readonly state?: "ready" | "waiting" | "held" | "running" | "succeeded" | "failed" | "dead" | "cancelled" | "discarded";
      readonly workflow?: string;
      readonly client_id?: string;
      readonly platform?: string;
      readonly lane?: string;
      readonly agent?: string;
      readonly pool?: string;
      readonly runner_id?: string;
      readonly failure_reason?: string;
      readonly correlation_id?: string;
      readonly trace_id?: string;
      readonly from?: string;
      readonly to?: string;
      readonly limit?: number;
      readonly cursor?: string;
    };
    readonly answer: RunList;
  };
  readonly "/api/v1/runs/{run_id}": {
    readonly query: {};
    readonly answer: RunDetail;
  };
  readonly "/api/v1/schedules": {
    readonly query: {};
    readonly answer: {
      readonly items: readonly Schedule[];
      readonly next_cursor: NextCursor;
    };
  };
  readonly "/api/v1/schedules/{schedule_id}": {
    readonly query: {};
    readonly answer: Schedule;
  };
  readonly "/api/v1/retry-policies": {
    readonly query: {};
    readonly answer: {
      readonly items: readonly RetryPolicy[];
      readonly default: RetryPolicy;
    };
  };
  readonly "/api/v1/limits": {
    readonly query: {};
    readonly answer: {
      readonly items: readonly Limit[];
    };
  };
  readonly "/api/v1/action-classes": {
    readonly query: {};
    readonly answer: {
      readonly items: readonly ActionClass[];
      readonly default: ActionClass;
    };
  };
  readonly "/api/v1/bulk-jobs": {
    readonly query: {
      readonly limit?: number;
      readonly cursor?: string;
    };
    readonly answer: BulkJobList;
  };
  readonly "/api/v1/bulk-jobs/{job_id}": {
    readonly query: {};
    readonly answer: BulkJobDetail;
  };
  readonly "/api/v1/switches": {
    readonly query: {
      readonly all?: boolean;
      readonly limit?: number;
      readonly cursor?: string;
    };
    readonly answer: SwitchList;
  };
  readonly "/api/v1/switches/{switch_id}": {
    readonly query: {};
    readonly answer: Switch;
  };
  readonly "/api/v1/switches/{switch_id}/in-flight": {
    readonly query: {
      readonly limit?: number;
      readonly cursor?: string;
    };
    readonly answer: InFlightList;
  };
  readonly "/api/v1/may-i": {
    readonly query: {
      readonly client_id?: string;
      readonly platform?: string;
      readonly lane?: string;
      readonly workflow?: string;
      readonly tool?: string;
      readonly agent?: string;
      readonly action_class?: string;
    };
    readonly answer: MayI;
  };
  readonly "/api/v1/side-effects": {
    readonly query: {
      readonly state?: "reserved" | "committed" | "unknown" | "unverified" | "released";
      readonly run_id?: string;
      readonly to_check?: boolean;
      readonly limit?: number;
      readonly cursor?: string;
    };
    readonly answer: SideEffectList;
  };
  readonly "/api/v1/side-effects/{side_effect_id}": {
    readonly query: {};
    readonly answer: SideEffect;
  };
  readonly "/api/v1/proof-rules": {
    readonly query: {};
    readonly answer: ProofRuleList;
  };
  readonly "/api/v1/policies/{policy_snapshot_id}": {
    readonly query: {};
    readonly answer: PolicySnapshot;
  };
  readonly "/api/v1/policies/blocks": {
    readonly query: {
      readonly all?: boolean;
      readonly limit?: number;
      readonly cursor?: string;
    };
    readonly answer: PolicyBlockList;
  };
  readonly "/api/v1/approvals": {
    readonly query: {
      readonly all?: boolean;
      readonly limit?: number;
      readonly cursor?: string;
    };
    readonly answer: ApprovalList;
  };
  readonly "/api/v1/approvals/{approval_id}": {
    readonly query: {};
    readonly answer: Approval;
  };
  readonly "/api/v1/escalations": {
    readonly query: {
      readonly all?: boolean;
      readonly limit?: number;
      readonly cursor?: string;
    };
    readonly answer: EscalationList;
  };
  readonly "/api/v1/workers": {
    readonly query: {
      readonly limit?: number;
      readonly cursor?: string;
    };
    readonly answer: WorkerList;
  };
  readonly "/api/v1/agent_runs": {
    readonly query: {
      readonly client_id?: string;
      readonly ref?: string;
      readonly status?: string;
      readonly limit?: number;
      readonly cursor?: string;
    };
    readonly answer: RecordList;
  };
  readonly "/api/v1/agent_logs": {
    readonly query: {
      readonly client_id?: string;
      readonly ref?: string;
      readonly status?: string;
      readonly limit?: number;
      readonly cursor?: string;
    };
    readonly answer: RecordList;
  };
  readonly "/api/v1/workflow_triggers": {
    readonly query: {
      readonly client_id?: string;
      readonly ref?: string;
      readonly status?: string;
      readonly limit?: number;
      readonly cursor?: string;
    };
    readonly answer: RecordList;
  };
  readonly "/api/v1/workflow_failures": {
    readonly query: {
      readonly client_id?: string;
      readonly ref?: string;
      readonly status?: string;
      readonly limit?: number;
      readonly cursor?: string;
    };
    readonly answer: RecordList;
  };
  readonly "/api/v1/webhook_events": {
    readonly query: {
      readonly trace_id?: string;
      readonly model?: string;
      readonly event_type?: string;
      readonly status?: string;
      readonly from?: string;
      readonly to?: string;
      readonly limit?: number;
      readonly cursor?: string;
    };
    readonly answer: RecordList;
  };
  readonly "/api/v1/audit_logs": {
    readonly query: {
      readonly action_type?: string;
      readonly from?: string;
      readonly to?: string;
      readonly action?: string;
      readonly actor_id?: string;
      readonly target_id?: string;
      readonly client_id?: string;
      readonly audit_id?: string;
      readonly request_id?: string;
      readonly correlation_id?: string;
      readonly trace_id?: string;
      readonly span_id?: string;
      readonly run_id?: string;
      readonly step_id?: string;
      readonly job_id?: string;
      readonly policy_snapshot_id?: string;
      readonly agent_id?: string;
      readonly ticket_id?: string;
      readonly tool_name?: string;
      readonly reported_by?: string;
      readonly result?: "success" | "fail" | "blocked";
      readonly reason?: string;
      readonly actor_type?: string;
      readonly role?: string;
      readonly target_type?: string;
      readonly platform?: string;
      readonly surface?: string;
      readonly lane?: string;
      readonly limit?: number;
      readonly cursor?: string;
    };
    readonly answer: AuditLogList;
  };
  readonly "/api/v1/audit": {
    readonly query: {
      readonly from?: string;
      readonly to?: string;
      readonly action?: string;
      readonly actor_id?: string;
      readonly target_id?: string;
      readonly client_id?: string;
      readonly audit_id?: string;
      readonly request_id?: string;
      readonly correlation_id?: string;
      readonly trace_id?: string;
      readonly span_id?: string;
      readonly run_id?: string;
      readonly step_id?: string;
      readonly job_id?: string;
      readonly policy_snapshot_id?: string;
      readonly agent_id?: string;
      readonly ticket_id?: string;
      readonly tool_name?: string;
      readonly reported_by?: string;
      readonly result?: "success" | "fail" | "blocked";
      readonly reason?: string;
      readonly actor_type?: string;
      readonly role?: string;
      readonly target_type?: string;
      readonly platform?: string;
      readonly surface?: string;
      readonly lane?: string;
      readonly limit?: number;
      readonly cursor?: string;
    };
    readonly answer: AuditList;
  };
  readonly "/api/v1/audit/{audit_id}": {
    readonly query: {};
    readonly answer: ProvenAudit;
  };
  readonly "/api/v1/audit/checkpoints": {
    readonly query: {
      readonly limit?: number;
      readonly cursor?: string;
    };
    readonly answer: {
      readonly items: readonly AuditCheckpoint[];
      readonly next_cursor: NextCursor;
    };
  };
  readonly "/api/v1/audit/consistency": {
    readonly query: {
      readonly from?: number;
      readonly to?: number;
    };
    readonly answer: {
      readonly from: number;
      readonly to: number;
      readonly path: readonly Sha256[];
      readonly checkpoint: AuditCheckpoint;
    };
  };
  readonly "/api/v1/audit/export": {
    readonly query: {
      readonly from?: number;
      readonly to?: number;
      readonly details?: boolean;
    };
    readonly answer: unknown;
  };
  readonly "/api/v1/attachments/{reference}": {
    readonly query: {};
    readonly answer: unknown;
  };
  readonly "/api/v1/ingest/balance": {
    readonly query: {};
    readonly answer: {
      readonly senders: readonly ({
        readonly sender: string;
        readonly signal: string;
      } & Balance)[];
      readonly totals: Balance;
    };
  };
  readonly "/api/v1/ingest/status": {
    readonly query: {};
    readonly answer: IngestStatus;
  };
  readonly "/api/v1/me": {
    readonly query: {};
    readonly answer: Me;
  };
  readonly "/api/v1/openapi.json": {
    readonly query: {};
    readonly answer: Readonly<Record<string, unknown>>;
  };
  readonly "/api/v1/session": {
    readonly query: {};
    readonly answer: Session;
  };
  readonly "/api/v1/links": {
    readonly query: {};
    readonly answer: Links;
  };
  readonly "/api/v1/members": {
    readonly query: {
      readonly after?: string;
    };
    readonly answer: Members;
  };
  readonly "/api/v1/tokens": {
    readonly query: {};
    readonly answer: Tokens;
  };
  readonly "/api/v1/webhooks": {
    readonly query: {};
    readonly answer: WebhookList;
  };
  readonly "/api/v1/webhooks/{webhook_id}": {
    readonly query: {};
    readonly answer: Webhook;
  };
  readonly "/api/v1/webhooks/{webhook_id}/deliveries": {
    readonly query: {
      readonly state?: "pending" | "delivered" | "dead";
      readonly cursor?: string;
      readonly limit?: number;
    };
    readonly answer: WebhookDeliveryList;
  };
  readonly "/api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}": {
    readonly query: {};
    readonly answer: WebhookDeliveryWithHistory;
  };
  readonly "/api/v1/workspaces": {
    readonly query: {};
    readonly answer: {
      readonly items: readonly Place[];
    };
  };
  readonly "/api/v1/workspace": {
    readonly query: {};
    readonly answer: Workspace;
  };
}
