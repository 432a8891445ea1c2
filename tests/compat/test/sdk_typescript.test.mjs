// The TypeScript SDK and its example against the real server.
import { agreement } from '../sdk_agreement.mjs';

agreement({
  contract: [process.execPath, '--test', 'sdk/typescript/test/contract.test.ts'],
  durable: [process.execPath, '--test', '--test-reporter=spec', 'sdk/typescript/test/durable.test.ts'],
  lead: [process.execPath, 'examples/leads/leads.mjs'],
});
