// A client on a fake server, both ended with the test.
import type { TestContext } from 'node:test';
import { Fettle, type FettleOptions } from '../src/index.ts';
import { FakeServer } from './fake_server.ts';
import { ManualClock } from './manual_clock.ts';

export interface Setup {
  readonly server: FakeServer;
  readonly clock: ManualClock;
  readonly fettle: Fettle;
}

export async function setup(t: TestContext, options: FettleOptions = {}): Promise<Setup> {
  const server = await FakeServer.start();
  const clock = new ManualClock();
  const fettle = new Fettle({ url: server.url, clock, ...options });
  t.after(async () => {
    await server.stop();
    await fettle.close();
  });
  return { server, clock, fettle };
}
