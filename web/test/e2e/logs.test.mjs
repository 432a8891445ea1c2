import assert from 'node:assert/strict';
import { test } from 'node:test';
import { calm, control, fixtureOnly, logs, onPage, row, sendDropped, sendLog, useBrowser } from './harness.mjs';

useBrowser();
const grid = '[role=grid]';
const lines = (page) => page.locator(`${grid} [role=row]:has([role=gridcell])`);

test('SearchNarrowsLinesAndBarsTogether', fixtureOnly, async () => {
  await onPage(logs(), {}, async (page) => {
    await page.locator(grid).waitFor();
    await page.keyboard.press('f');
    await page.keyboard.type('attempt');
    await page.keyboard.press('Enter');
    await page.waitForURL(/q=attempt/);
    await page.waitForFunction(() => document.querySelectorAll('mark').length === 3);
    await page.getByRole('img', { name: /^3 lines: 0 errors, 3 warnings/ }).waitFor();
    await page.getByRole('radio', { name: 'Errors' }).check({ force: true });
    await page.waitForURL(/level=error/);
    await page.locator('[data-state=filtered]').waitFor();
    await page.getByRole('button', { name: /^Clear level/ }).click();
    await page.waitForFunction(() => document.querySelectorAll('mark').length === 3);
    await page.getByRole('button', { name: 'Clear the search' }).click();
    await page.waitForFunction(() => document.querySelectorAll('mark').length === 0);
  });
});

test('FiltersAreChipsAndUnknownOnesAreShownNotSent', fixtureOnly, async () => {
  await onPage(logs('?client=harbor-pine&mystery=42&level=loud&attr.queue=publish'), {}, async (page) => {
    await lines(page).first().waitFor();
    await page.getByText('mystery').waitFor();
    assert.equal(await page.getByText('not applied').count(), 2);
    await page.getByRole('button', { name: 'Client harbor-pine' }).waitFor();
    for (const text of await lines(page).allInnerTexts()) assert.match(text, /harbor-pine/);
    await page.getByRole('button', { name: 'Remove the filter mystery' }).click();
    await page.waitForURL((url) => !url.search.includes('mystery') && url.search.includes('client=harbor-pine'));
    await page.getByRole('button', { name: 'Add a filter' }).click();
    await page.getByLabel('Field').selectOption('service');
    await page.getByLabel('Equals').fill('web');
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    await page.waitForURL(/service=web/);
    await page.reload();
    await lines(page).first().waitFor();
    await page.getByRole('button', { name: 'Remove the filter service' }).waitFor();
    // Filters travel to the next place, what was searched for stays.
    await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Traces' }).click();
    await page.waitForURL(/traces\?client=harbor-pine$/);
  });
});

test('TheListLoadsOnAndShowsALine', fixtureOnly, async () => {
  await onPage(logs('?live=0'), {}, async (page) => {
    await page.getByText('newest 200 loaded').waitFor();
    await page.keyboard.press('End');
    await page.getByText('newest 400 loaded').waitFor();
    await page.keyboard.press('Home');
    await page.keyboard.press('j');
    await page.keyboard.press('Enter');
    const pane = page.getByRole('complementary', { name: 'Log line' });
    await pane.getByText('Resource').waitFor();
    await page.keyboard.press('Escape');
    await pane.waitFor({ state: 'detached' });
  });
  await onPage(logs('?q=webhook'), {}, async (page) => {
    await lines(page).first().click();
    const pane = page.getByRole('complementary', { name: 'Log line' });
    await pane.getByTitle('Redacted before it was stored, by the rule bearer_token').first().waitFor();
    await page.keyboard.press('v');
    await page.waitForURL(/evidence\/journey\?id=4bf92f/);
    await page.getByText('11 spans, 9 logs').waitFor();
  });
});

test('ADragOverTheBarsChoosesTheTime', fixtureOnly, async () => {
  await onPage(logs(), {}, async (page) => {
    const chart = page.getByRole('img', { name: /lines/ });
    const box = await chart.boundingBox();
    await page.mouse.move(box.x + box.width * 0.5, box.y + 40);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.7, box.y + 40, { steps: 6 });
    await page.mouse.up();
    await page.waitForURL(/from=20.*to=20/);
    await page.goBack();
    await page.waitForURL((url) => !url.search.includes('from='));
    await page.getByRole('button', { name: 'View as table' }).click();
    assert.equal(await page.getByRole('columnheader', { name: 'Warnings' }).count(), 1);
  });
});

test('TheTailPutsLinesOnTopAndNeverUnderTheCursor', fixtureOnly, async () => {
  await onPage(logs(), {}, async (page) => {
    await page.getByRole('button', { name: 'Following' }).waitFor();
    await sendLog({ body: 'first of the tail', level: 'warn' });
    await lines(page).filter({ hasText: 'first of the tail' }).waitFor();
    assert.match(await lines(page).first().innerText(), /first of the tail/);
    // Away from the top, new lines wait.
    await page.locator(grid).evaluate((g) => (g.scrollTop = 900));
    await page.waitForTimeout(100);
    const seen = await lines(page).allInnerTexts();
    await sendLog([{ body: 'second of the tail' }, { body: 'third of the tail' }]);
    await page.getByRole('button', { name: '2 new · show' }).waitFor();
    assert.deepEqual(await lines(page).allInnerTexts(), seen);
    await page.getByRole('button', { name: '2 new · show' }).click();
    await lines(page).filter({ hasText: 'third of the tail' }).waitFor();
    await sendDropped();
    await page.locator('[data-state=dropped]', { hasText: '312 lines left out of the tail' }).waitFor();
    await page.keyboard.press('.');
    await page.waitForURL(/live=0/);
    await page.getByText('Paused').waitFor();
    await sendLog({ body: 'fourth, while paused' });
    await page.waitForTimeout(300);
    assert.equal(await lines(page).filter({ hasText: 'fourth' }).count(), 0);
  });
});

test('ALostServerIsSaidAndRecoversByItself', fixtureOnly, async () => {
  const tolerate = ['Failed to load resource', 'net::'];
  try {
    await onPage(logs(), { tolerate }, async (page) => {
      await page.getByRole('button', { name: 'Following' }).waitFor();
      const before = await lines(page).first().innerText();
      await control({ down: true });
      await page.getByRole('banner').getByText('Reconnecting').waitFor();
      assert.equal(await lines(page).first().innerText(), before, 'what is shown stays');
      await calm();
      await page.getByRole('banner').getByText(/^Live/).waitFor();
      await page.getByRole('button', { name: 'Following' }).waitFor({ timeout: 15_000 });
      await sendLog({ body: 'after the break' });
      await lines(page).filter({ hasText: 'after the break' }).waitFor();
    });
  } finally {
    await calm();
  }
});

test('EveryStateHasItsWords', fixtureOnly, async () => {
  const tolerate = ['Failed to load resource', '500', '403'];
  try {
    await control({ fail: { '/logs': 500 } });
    await onPage(logs(), { tolerate }, async (page) => {
      await page.locator('[data-state=failed]').first().waitFor();
      assert.ok((await page.locator('[data-state=failed]').count()) === 2, 'bars and lines fail each for themselves');
    });
    await control({ fail: { '/logs/histogram': 500 } });
    await onPage(logs(), { tolerate }, async (page) => {
      await lines(page).first().waitFor();
      await page.locator('[data-state=failed]').waitFor();
    });
    await control({ fail: { '/logs': 403 } });
    await onPage(logs(), { tolerate }, async (page) => {
      await page.locator('[data-state=forbidden]').first().waitFor();
    });
    await control({ fail: {}, partial: true });
    await onPage(logs(), {}, async (page) => {
      await page.locator('[data-state=partial]').waitFor();
    });
    await control({ partial: false });
    await onPage(logs('?from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z'), {}, async (page) => {
      await page.locator('[data-state=no-data]').waitFor();
    });
    await onPage(logs('?q=zebra'), {}, async (page) => {
      await page.locator('[data-state=filtered]', { hasText: 'q zebra' }).waitFor();
    });
    // The last good lines stay, greyed, with their time, when a later answer fails.
    await onPage('/w/default/evidence/traces', { tolerate }, async (page) => {
      await lines(page).first().waitFor();
      await control({ fail: { '/spans': 500 } });
      await page.keyboard.press('r');
      await page.locator('[data-state=stale]', { hasText: 'As of' }).waitFor();
      assert.ok((await lines(page).count()) > 5);
    });
  } finally {
    await calm();
  }
});

test('AnEmptyWorkspaceSaysHowToBegin', fixtureOnly, async () => {
  try {
    await control({ never: true });
    for (const path of ['/', logs(), '/w/default/evidence/traces']) {
      await onPage(path, {}, async (page) => {
        await page.getByRole('heading', { name: 'Send telemetry' }).waitFor();
        await page.getByText('Waiting for the first span').waitFor();
        await page.locator('label', { hasText: 'Python' }).click();
        await page.getByText('opentelemetry-instrument python app.py').waitFor();
        await page.getByRole('button', { name: 'Copy snippet' }).click();
        assert.match(
          await page.evaluate(() => navigator.clipboard.readText()),
          /OTEL_EXPORTER_OTLP_ENDPOINT=http:\/\/127\.0\.0\.1/,
        );
      });
    }
    await onPage('/', {}, async (page) => {
      await page.getByText('Waiting for the first span').waitFor();
      await control({ never: false });
      await page.getByText('First span received').waitFor();
      await page.getByRole('link', { name: 'Open the latest journey' }).click();
      await page.locator('[role=treegrid]').waitFor();
    });
  } finally {
    await calm();
  }
});

test('AWrongClockIsSaidInTheStatusLine', fixtureOnly, async () => {
  const at = (sender, skew_ms, delay_ms) => ({ sender, skew_ms, delay_ms });
  try {
    await control({ skew: [at('steady', 4900, 0), at('late', 0, 90_000), at('crooked', 62_000, 0)] });
    await onPage(logs(), {}, async (page) => {
      const line = page.getByRole('contentinfo', { name: 'Ingest' });
      await line.getByText('Clock skew', { exact: true }).waitFor();
      await line.getByRole('button', { name: /Ingest details/ }).click();
      await page.getByText(/^The clock of crooked is 1\sm 2\ss ahead of the server's\.$/).waitFor();
      assert.equal(await page.getByText('The clock of').count(), 1);
    });
  } finally {
    await calm();
  }
});

test('IngestTroubleIsSaidInTheStatusLine', fixtureOnly, async () => {
  try {
    await control({ lag_ms: 42_000, dropped: 17 });
    await onPage(logs(), {}, async (page) => {
      const line = page.getByRole('contentinfo', { name: 'Ingest' });
      await line.getByText('17 turned away and 1 more').waitFor();
      await line.getByRole('button', { name: 'Ingest details' }).click();
      await page.getByRole('dialog', { name: 'Ingest details' }).getByText('Senders were asked to come back').waitFor();
    });
  } finally {
    await calm();
  }
});

test('ThePaletteGoesAndDoes', fixtureOnly, async () => {
  await onPage(logs(), {}, async (page) => {
    await page.locator(grid).waitFor();
    await page.keyboard.press('Control+k');
    await page.getByRole('combobox').fill('dark');
    await page.getByRole('option', { name: 'Theme: dark' }).click();
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark');
    await page.reload();
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark');
    await page.keyboard.press('g');
    await page.keyboard.press('e');
    await page.waitForURL(/evidence\/journey/);
    await page.keyboard.press('?');
    await page.getByRole('checkbox').uncheck();
    await page.keyboard.press('Escape');
    await page.keyboard.press('/');
    await page.waitForTimeout(150);
    assert.equal(await page.getByRole('dialog').count(), 0, 'single keys can be switched off');
  });
});

test('ARowIsWalkedToWithTheKeyboard', fixtureOnly, async () => {
  await onPage(logs('?live=0'), {}, async (page) => {
    await lines(page).first().waitFor();
    for (const key of ['j', 'j', 'j', 'k']) await page.keyboard.press(key);
    assert.equal(await row(page).getAttribute('aria-rowindex'), '3');
    assert.equal(await page.locator(grid).getAttribute('aria-activedescendant'), 'line-1');
  });
});
