import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  calm,
  control,
  fixtureOnly,
  frames,
  logs,
  onPage,
  row,
  sendDropped,
  sendLog,
  tails,
  useBrowser,
} from './harness.mjs';

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
    await frames(page);
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
    await tails(0);
    await sendLog({ body: 'fourth, while paused' });
    assert.equal(await lines(page).filter({ hasText: 'fourth' }).count(), 0);
    // Following again leaves no gap below what comes next.
    await page.keyboard.press('.');
    await lines(page).filter({ hasText: 'fourth, while paused' }).waitFor();
    await tails(1);
    await sendLog({ body: 'fifth of the tail' });
    await lines(page).filter({ hasText: 'fifth of the tail' }).waitFor();
    assert.match(await lines(page).nth(1).innerText(), /fourth, while paused/);
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
    await frames(page);
    assert.equal(await page.getByRole('dialog').count(), 0, 'single keys can be switched off');
  });
});

test('BothListsHaveTheSameKeysAndCountTheirRows', fixtureOnly, async () => {
  for (const [path, one] of [
    [logs('?live=0'), 'line'],
    ['/w/default/evidence/traces', 'span'],
  ]) {
    for (const [width, heads] of [
      [1440, 1],
      [390, 0],
    ]) {
      await onPage(path, { width }, async (page) => {
        await lines(page).first().waitFor();
        const selected = async () => Number(await row(page).getAttribute('aria-rowindex'));
        const first = 1 + heads;
        await page.keyboard.press('Home');
        await frames(page);
        assert.equal(await selected(), first);
        assert.equal(await row(page).getAttribute('id'), `${one}-0`);
        await page.keyboard.press('PageDown');
        await frames(page);
        const page2 = await selected();
        assert.ok(page2 > first + 3, `PageDown goes from ${first} to ${page2}`);
        await page.keyboard.press('PageUp');
        await frames(page);
        assert.equal(await selected(), first);
        // The last row of a list that is there as a whole is as many as there are.
        const count = Number(await page.locator(grid).getAttribute('aria-rowcount'));
        await page.keyboard.press('End');
        await frames(page);
        assert.equal(await selected(), count);
        await page.keyboard.press('o');
        await page.getByRole('complementary').waitFor();
        await page.keyboard.press('Escape');
        await page.getByRole('complementary').waitFor({ state: 'detached' });
      });
    }
  }
});

test('ALinkOfARowGoesToItsJourneyAndNotToTheRow', fixtureOnly, async () => {
  await onPage('/w/default/evidence/traces', {}, async (page) => {
    await lines(page).first().getByRole('link').click();
    await page.waitForURL(/evidence\/journey\?id=/);
    await page.locator('[role=treegrid]').waitFor();
    await page.goBack();
    await lines(page).first().waitFor();
    assert.equal(await page.getByRole('complementary').count(), 0);
    const [opened] = await Promise.all([
      page.context().waitForEvent('page'),
      lines(page)
        .first()
        .getByRole('link')
        .click({ modifiers: ['Shift'] }),
    ]);
    await opened.close();
    assert.match(page.url(), /evidence\/traces/);
  });
});

test('ALoadedListKeepsTheCursorOnItsRow', fixtureOnly, async () => {
  await onPage(logs(), {}, async (page) => {
    await page.getByRole('button', { name: 'Following' }).waitFor();
    await page.keyboard.press('j');
    await page.keyboard.press('j');
    await frames(page);
    const text = await row(page).innerText();
    await sendLog([{ body: 'sixth of the tail' }, { body: 'seventh of the tail' }]);
    await lines(page).filter({ hasText: 'seventh of the tail' }).waitFor();
    assert.equal(await row(page).innerText(), text);
    assert.equal(await row(page).getAttribute('id'), 'line-3');
    // Asked for anew, with a line more on top.
    await page.keyboard.press('.');
    await tails(0);
    await sendLog({ body: 'eighth of the tail' });
    await page.keyboard.press('.');
    await lines(page).filter({ hasText: 'eighth of the tail' }).waitFor();
    assert.equal(await row(page).innerText(), text);
    await page.keyboard.press('k');
    await frames(page);
    assert.equal(await row(page).getAttribute('id'), 'line-3');
  });
});

test('AFilterSuggestsTheValuesOfItsOwnField', fixtureOnly, async () => {
  await onPage(logs('?live=0'), {}, async (page) => {
    await lines(page).first().waitFor();
    await page.getByRole('button', { name: 'Add a filter' }).click();
    const known = (field) => page.locator(`#filter-${field} option`).evaluateAll((all) => all.map((o) => o.value));
    const of = async (field) => {
      await page.getByLabel('Field').selectOption(field);
      return known('known');
    };
    assert.ok((await of('service')).includes('tool-gateway') || (await of('service')).includes('worker'));
    const platforms = await of('platform');
    assert.ok(platforms.includes('tiktok') && !platforms.includes('worker'), platforms.join(' '));
    assert.ok((await of('client')).includes('harbor-pine'));
    assert.ok((await of('job_id')).every((v) => v.startsWith('job_7')));
    assert.ok((await of('job_id')).length > 5);
    assert.ok((await of('event_name')).includes('published'));
    assert.deepEqual(await of('attr.'), []);
    assert.ok((await known('attributes')).includes('queue'));
    await page.getByLabel('Attribute name').fill('queue');
    assert.deepEqual(await known('known'), ['publish']);
  });
});

test('ARowIsWalkedToWithTheKeyboard', fixtureOnly, async () => {
  await onPage(logs('?live=0'), {}, async (page) => {
    await lines(page).first().waitFor();
    for (const key of ['j', 'j', 'j', 'k']) await page.keyboard.press(key);
    await frames(page);
    assert.equal(await row(page).getAttribute('aria-rowindex'), '3');
    assert.equal(await page.locator(grid).getAttribute('aria-activedescendant'), 'line-1');
  });
});
