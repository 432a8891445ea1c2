import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  IDS,
  axe,
  calm,
  control,
  fixtureOnly,
  journey,
  logs,
  noSidewaysScroll,
  onPage,
  settled,
  useBrowser,
} from './harness.mjs';

useBrowser();

const PAGES = [
  ['journey', journey(IDS.crm), '[role=treegrid]'],
  ['journey start', '/w/default/evidence/journey', 'h1'],
  ['traces', '/w/default/evidence/traces', '[role=grid]'],
  ['logs', logs(), '[role=grid]'],
  ['logs, nothing', logs('?q=zebra&mystery=1'), '[data-state=filtered]'],
  ['first run', '/w/default/start', 'pre'],
];
const SHIFT_MAX = 0.02;

for (const width of [1440, 390]) {
  for (const theme of ['light', 'dark']) {
    test(`AxeFindsNothingAt${width}In${theme}`, fixtureOnly, async () => {
      for (const [name, path, ready] of PAGES) {
        await onPage(path, { width, height: width === 390 ? 844 : 900, theme }, async (page) => {
          await page.locator(ready).first().waitFor();
          await settled(page);
          await axe(page, name);
          await noSidewaysScroll(page);
          const shift = await page.evaluate(() => window.layoutShift);
          assert.ok(shift <= SHIFT_MAX, `${name} shifts by ${shift.toFixed(3)}`);
        });
      }
    });
    test(`AxeFindsNothingInWhatOpensAt${width}In${theme}`, fixtureOnly, async () => {
      await onPage(logs('?live=0'), { width, height: width === 390 ? 844 : 900, theme }, async (page) => {
        await page.locator('[role=grid]').waitFor();
        await page.keyboard.press('j');
        await page.keyboard.press('Enter');
        await page.getByRole('complementary').waitFor();
        await axe(page, 'log pane');
        await page.keyboard.press('Escape');
        for (const [key, name] of [
          ['?', 'help'],
          ['/', 'find'],
          ['Control+k', 'palette'],
          ['t', 'time range'],
        ]) {
          await page.keyboard.press(key);
          await page.getByRole('dialog').waitFor();
          await axe(page, name);
          await page.keyboard.press('Escape');
          await page.getByRole('dialog').waitFor({ state: 'detached' });
        }
      });
    });
  }
}

test('StatesAreAccessibleToo', fixtureOnly, async () => {
  try {
    await control({ fail: { '/logs': 500 } });
    await onPage(logs(), { tolerate: ['500', 'Failed to load resource'] }, async (page) => {
      await page.locator('[data-state=failed]').first().waitFor();
      await axe(page, 'failed');
    });
    await control({ fail: {}, delayMs: 4000 });
    await onPage(logs(), { theme: 'dark' }, async (page) => {
      await page.locator('[data-state=slow]').first().waitFor();
      await axe(page, 'slow');
    });
  } finally {
    await calm();
  }
});

test('NarrowestAndZoomedPagesDoNotScrollSideways', fixtureOnly, async () => {
  for (const [, path, ready] of PAGES) {
    for (const [width, height] of [
      [320, 640],
      [360, 225],
    ]) {
      await onPage(path, { width, height }, async (page) => {
        await page.locator(ready).first().waitFor();
        await noSidewaysScroll(page);
      });
    }
  }
});

test('FocusGoesIntoADialogAndComesBack', fixtureOnly, async () => {
  await onPage(logs('?live=0'), {}, async (page) => {
    await page.locator('[role=grid]').waitFor();
    const button = page.getByRole('button', { name: /Find by any identifier/ });
    await button.focus();
    await page.keyboard.press('Enter');
    await page.getByRole('combobox').waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute('role')), 'combobox');
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    assert.match(await page.evaluate(() => document.activeElement.textContent), /Find by any identifier/);
  });
});

test('TheFirstThingTabReachesSkipsToThePage', fixtureOnly, async () => {
  await onPage(logs('?live=0'), {}, async (page) => {
    await page.locator('[role=grid]').waitFor();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
  });
});
