// The C++ SDK and its example against the real server.
import { dirname, join, resolve } from 'node:path';
import { agreement } from '../sdk_agreement.mjs';
import { root } from '../server.mjs';

// Beside the server that is tested.
const build = process.env.FETTLE_BINARY
  ? resolve(dirname(process.env.FETTLE_BINARY), '..') : join(root, 'build/release');
const tests = join(build, 'test/sdk_cpp_test');
agreement({
  contract: [tests, '--gtest_filter=ContractTest.*'],
  durable: [tests, '--gtest_filter=DurableTest.*'],
  lead: [join(build, 'bin/leads_example')],
});
