// The Python SDK and its example against the real server.
import { join } from 'node:path';
import { agreement } from '../sdk_agreement.mjs';
import { root } from '../server.mjs';

const folder = join(root, 'sdk/python');
agreement({
  contract: ['python3', '-m', 'unittest', 'tests.test_contract'],
  durable: ['python3', '-m', 'unittest', '-v', 'tests.test_durable'],
  lead: ['python3', join(root, 'examples/leads/leads.py')],
  options: { cwd: folder, env: { PYTHONPATH: folder, PYTHONDONTWRITEBYTECODE: '1' } },
});
