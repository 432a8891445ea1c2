// A person's decision, for which a run waits: what is asked, and what came of it.
import { jsonOf } from './batcher.ts';
import type { Clock } from './clock.ts';
import type { ApprovalResult, Json, Lease } from './wire.ts';

export interface ApprovalOptions {
  // One line for whoever decides.
  readonly title: string;
  // The least role that may decide; `operator` without.
  readonly role?: 'viewer' | 'operator' | 'manager' | 'admin' | 'owner' | undefined;
  // What is to be approved, or where it can be seen.
  readonly details?: { readonly [name: string]: Json } | undefined;
  // What else whoever decides should know: becomes `details.note`.
  readonly note?: string | undefined;
  // When the question expires, at least a second ahead: at a time, or so long after it was asked. Never without.
  readonly expiresAt?: Date | undefined;
  readonly timeoutMs?: number | undefined;
}

export interface ApprovalDecision {
  readonly decision: 'approved' | 'rejected' | 'expired';
  // Nobody, when it has expired.
  readonly decidedBy?: string | undefined;
  readonly note?: string | undefined;
  // Approved with these changes.
  readonly edited?: Json | undefined;
}

// The question as the wire knows it. Throws InvalidValueError.
export function approvalJson(lease: Lease, step: string, options: ApprovalOptions, clock: Clock): string {
  const { title, role, details, note, expiresAt, timeoutMs } = options;
  const expires = expiresAt ?? (timeoutMs === undefined ? undefined : new Date(clock.wall() + timeoutMs));
  return jsonOf(
    {
      run_id: lease.run_id,
      fence: lease.fence,
      step,
      title,
      role,
      details: note === undefined ? details : { ...details, note },
      expires_at: expires?.toISOString(),
    },
    step,
  );
}

// The step's result as the caller knows it.
export function decisionOf(result: Json | undefined): ApprovalDecision {
  const { decision, by, note, edited } = result as unknown as ApprovalResult;
  return { decision, decidedBy: by ?? undefined, note: note ?? undefined, edited };
}
