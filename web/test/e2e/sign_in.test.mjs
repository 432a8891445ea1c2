// People come in: the first owner by the printed link, everybody by password. Against the real program, which is the only
// one that knows them.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { root, startServer, until } from '../../../tests/compat/server.mjs';

const binary = process.env.FETTLE_BINARY ?? join(root, 'build/release/bin/fettle');
const EMAIL = 'mara@example.com';
const PASSWORD = 'a quiet harbour at dawn';
const REFUSED = ['401', 'Failed to load resource'];

if (!existsSync(binary)) {
  test('SigningIn', { skip: `${binary} is not built: ./dev build` }, () => undefined);
} else {
  const server = await startServer({ dev: false });
  after(() => server.stop());
  process.env.BASE_URL = server.base;
  const { axe, noSidewaysScroll, onPage, useBrowser } = await import('./harness.mjs');
  useBrowser();

  const link = await until('the link', () => /\/welcome#\S+/.exec(server.printed())?.[0]);

  for (const [width, theme] of [
    [1440, 'light'],
    [390, 'dark'],
  ]) {
    test(`TheGateAndTheWelcomeAreAccessibleAt${width}In${theme}`, async () => {
      for (const [path, heading] of [
        [link, 'Welcome to Fettle'],
        ['/', 'Sign in'],
      ]) {
        await onPage(path, { width, theme, tolerate: REFUSED }, async (page) => {
          await page.getByRole('heading', { name: heading }).waitFor();
          await axe(page, heading);
          await noSidewaysScroll(page);
          if (process.env.SHOTS)
            await page.screenshot({ path: join(process.env.SHOTS, `${heading}-${width}-${theme}.png`) });
        });
      }
    });
  }

  test('TheFirstOwnerComesInByTheLinkOnceAndByPasswordAfterwards', async () => {
    await onPage(link, { tolerate: REFUSED }, async (page) => {
      await page.getByLabel('E-mail').fill(EMAIL);
      await page.getByLabel('Your name').fill('Mara');
      await page.getByLabel('Password').fill(PASSWORD);
      await page.getByRole('button', { name: 'Come in' }).click();
      await page.waitForURL('**/w/default/evidence/journey');
      assert.equal(await page.evaluate(() => document.cookie), '', 'scripts do not see the session');
    });
    await onPage(link, { tolerate: ['404', ...REFUSED] }, async (page) => {
      await page.getByText('This link does not work any more.').waitFor();
    });
    await onPage('/', { tolerate: REFUSED }, async (page) => {
      await page.getByLabel('E-mail').fill(EMAIL);
      await page.getByLabel('Password').fill('not this one, surely');
      await page.getByRole('button', { name: 'Sign in' }).click();
      await page.getByRole('alert').filter({ hasText: /\S/ }).waitFor();
      await page.getByLabel('Password').fill(PASSWORD);
      await page.getByRole('button', { name: 'Sign in' }).click();
      await page.waitForURL('**/w/default/evidence/journey');
    });
  });
}
