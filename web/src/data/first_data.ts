import { get } from './api';

// Whether this workspace has never received anything: then there is nothing to filter, and pages say how to begin.
export async function neverReceived(abort?: AbortSignal): Promise<boolean> {
  const balance = await get('/api/v1/ingest/balance', {}, {}, abort);
  return balance.senders.every((s) => s.received === 0);
}
