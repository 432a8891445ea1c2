// What travels between this SDK and the server, under the names of its API. Nothing else in the SDK spells them.
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

export interface Problem {
  readonly type?: string;
  readonly title?: string;
  readonly status?: number;
  readonly detail?: string;
  readonly code?: string;
  readonly request_id?: string;
  readonly [extension: string]: unknown;
}

export interface SwitchInfo {
  readonly id?: string;
  readonly reason?: string;
  readonly [member: string]: unknown;
}

export interface ErrorObject {
  readonly type: string;
  readonly message: string;
  readonly code?: string;
  readonly stack?: string;
  readonly status?: number;
  readonly retryable: boolean;
  readonly retry_after_ms?: number;
}

// One result of a batch, at the position of its item.
export type ItemAnswer<T> = ({ readonly ok: true } & T) | { readonly ok: false; readonly error: Problem };
export interface BatchAnswer<T> {
  readonly results: readonly ItemAnswer<T>[];
}

export interface RunCreated {
  readonly run_id: string;
  readonly state: string;
  readonly created: boolean;
}

export interface LeasedStep {
  readonly name: string;
  readonly status: string;
  readonly result?: Json;
}

export interface Lease {
  readonly run_id: string;
  readonly workflow: string;
  readonly attempt: number;
  readonly fence: number | string;
  readonly retry_count: number;
  readonly max_retries?: number;
  readonly lease_expires_at?: string;
  readonly payload?: Json;
  readonly client_id?: string | null;
  readonly platform?: string | null;
  readonly lane?: string | null;
  readonly agent?: string | null;
  readonly model?: string | null;
  readonly correlation_id?: string | null;
  readonly job_id?: string | null;
  readonly request_id?: string | null;
  readonly traceparent?: string | null;
  readonly tracestate?: string | null;
  readonly baggage?: string | null;
  readonly steps?: readonly LeasedStep[];
}

export interface LeaseAnswer {
  readonly leases: readonly Lease[];
  readonly kill?: readonly SwitchInfo[];
}

export interface WorkerTerms {
  readonly lease_ms: number;
  readonly heartbeat_ms: number;
}

export interface ReportAnswer {
  readonly state?: string;
  readonly cancel?: boolean;
  readonly stop?: SwitchInfo | null;
  // Of a step's failure: try it again in place, after so long.
  readonly will_retry?: boolean;
  readonly retry_after_ms?: number;
}

// Of a step that waited for an event.
export interface WaitResult {
  readonly payload?: Json;
  readonly expired?: boolean;
}

// Of a question that a run asks: it waits, or the answer is there already.
export interface ApprovalAnswer {
  readonly state: 'parked' | 'done';
  readonly result?: Json;
}

export interface ApprovalResult {
  readonly decision: 'approved' | 'rejected' | 'expired';
  readonly by?: string | null;
  readonly note?: string | null;
  readonly edited?: Json;
}

export interface ReserveAnswer {
  readonly side_effect_id: string;
  readonly decision: 'go_on' | 'committed' | 'unknown' | 'refused' | 'in_progress';
  readonly earlier?: { readonly result?: Json; readonly proof?: Json; readonly [member: string]: unknown } | null;
  readonly reason?: string;
  readonly [member: string]: unknown;
}

export interface MayIAnswer {
  readonly allowed: boolean;
  readonly reason?: string | null;
  readonly switch?: SwitchInfo | null;
  readonly cache_ms: number;
  readonly on_unreachable: 'allow' | 'refuse';
}
