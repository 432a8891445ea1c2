// Fettle with its ledger in PostgreSQL.
import { startFettleOnPostgres } from '../servers.mjs';

export const start = startFettleOnPostgres;
export { open } from './fettle.mjs';
