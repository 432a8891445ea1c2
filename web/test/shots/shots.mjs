// Pictures of the pages with data, to be looked at after a change of the UI: npm run shots [part of a name …]
import { mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { IDS, startFixture } from '../fixture_server.mjs';

const out = join(dirname(fileURLToPath(import.meta.url)), 'out');
const evidence = '/w/default/evidence';
const press = (key) => (page) => page.keyboard.press(key);
const openRow = async (page) => {
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await page.getByRole('complementary').waitFor();
};

// name, address, what shows that it is there, what is done then.
const PAGES = [
  ['journey', `${evidence}/journey?id=${IDS.crm}`, '[role=treegrid]'],
  ['journey-list', `${evidence}/journey?id=${IDS.crm}`, '[role=treegrid]', press('Escape')],
  ['journey-big', `${evidence}/journey?id=${IDS.big}`, '[role=treegrid]', press('n')],
  ['journey-cut', `${evidence}/journey?id=${IDS.cut}`, '[data-state=partial]'],
  ['journey-orphan', `${evidence}/journey?id=${IDS.orphan}`, '[role=treegrid]'],
  ['journey-hostile', `${evidence}/journey?id=${IDS.hostile}`, '[role=treegrid]'],
  ['journey-run', `${evidence}/journey?id=${IDS.deadRun}`, '[role=treegrid]'],
  ['journey-start', `${evidence}/journey`, 'h1'],
  ['traces', `${evidence}/traces`, '[role=grid]'],
  ['traces-dated', `${evidence}/traces?from=-2d&to=-2h`, '[role=grid]'],
  ['traces-pane', `${evidence}/traces?status=error`, '[role=grid]', openRow],
  ['logs', `${evidence}/logs`, '[role=grid]'],
  ['logs-dated', `${evidence}/logs?from=-3d&to=-2h`, '[role=grid]'],
  ['logs-pane', `${evidence}/logs?q=attempt&live=0`, '[role=grid]', openRow],
  ['logs-filtered', `${evidence}/logs?client=harbor-pine&level=warn&mystery=42&live=0`, '[role=grid]'],
  ['logs-nothing', `${evidence}/logs?q=zebra`, '[data-state=filtered]'],
  ['logs-time', `${evidence}/logs?live=0`, '[role=grid]', press('t')],
];
const wanted = process.argv.slice(2);

if (wanted.length === 0) rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const fixture = await startFixture({ daysBack: 1 });
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic'],
});
try {
  for (const [name, path, ready, act] of PAGES) {
    if (wanted.length > 0 && !wanted.some((w) => name.includes(w))) continue;
    for (const [width, height] of [
      [1440, 900],
      [390, 844],
    ]) {
      for (const theme of ['light', 'dark']) {
        const page = await browser.newPage({
          viewport: { width, height },
          colorScheme: theme,
          reducedMotion: 'reduce',
          locale: 'en-GB',
          timezoneId: 'UTC',
          isMobile: width < 800,
          hasTouch: width < 800,
        });
        await page.goto(fixture.url + path);
        await page.locator(ready).first().waitFor();
        await page
          .getByRole('banner')
          .getByText(/^(Live|Paused)/)
          .waitFor({ state: 'attached' });
        await act?.(page);
        // The pane of a journey asks for its span; nothing else is under way then.
        await page.waitForFunction(() => !document.querySelector('[aria-busy=true]'));
        await page.evaluate(async () => {
          await document.fonts.ready;
          await Promise.allSettled(document.getAnimations().map((a) => a.finished));
          await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
        });
        const file = join(out, `${name}-${width}-${theme}.png`);
        await page.screenshot({ path: file });
        console.log(file);
        await page.close();
      }
    }
  }
} finally {
  await browser.close();
  await fixture.close();
}
