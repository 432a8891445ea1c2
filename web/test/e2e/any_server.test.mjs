// What must hold against any server, the real one above all (BASE_URL=http://127.0.0.1:7070).
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { axe, base, frames, journey, logs, onPage, row, settled, useBrowser } from './harness.mjs';
import { seed, sendLine } from './seed.mjs';

useBrowser();
let known;
before(async () => {
  known = await seed(base);
});

test('AJourneyIsFoundByTraceAndByRequest', async () => {
  for (const id of [known.traceId, known.requestId]) {
    await onPage('/', {}, async (page) => {
      await page.waitForURL(/\/w\/default\/evidence\/journey/);
      await page.getByRole('button', { name: /Find by any identifier/ }).click();
      await page.getByRole('combobox').fill(id);
      await page
        .getByRole('option', { name: new RegExp(`_id ${id}`) })
        .first()
        .waitFor();
      await page.keyboard.press('Enter');
      await page.locator('[role=treegrid]').waitFor();
      await page.getByText(/ spans, [2-9]\d* logs/).waitFor();
      await page.keyboard.press('Home');
      assert.match(await row(page).innerText(), /http\.request/);
      for (let i = 0; i < 8 && !(await row(page).innerText()).includes(known.failed); i += 1) {
        await page.keyboard.press('n');
        await frames(page);
      }
      assert.match(await row(page).innerText(), /failed/);
      await page
        .getByRole('complementary', { name: 'Span' })
        .getByText('ConnectTimeoutError', { exact: true })
        .waitFor();
      // The address follows the cursor: a span by its id.
      const { names, spans } = await (await fetch(`${base}/api/v1/traces/${known.traceId}/outline`)).json();
      const [wanted] = spans.find(([, , name]) => names[name] === known.failed);
      await page.waitForURL((url) => url.searchParams.get('sel') === wanted);
      const selected = await row(page).innerText();
      await page.reload();
      await page.waitForFunction(
        (text) => document.querySelector('[aria-selected=true]')?.innerText === text,
        selected,
      );
    });
  }
});

test('LogsAreSearchedAndLeadToTheirJourney', async () => {
  await onPage(logs(`?q=${known.word}&client=${known.client}`), {}, async (page) => {
    await page.locator('mark').first().waitFor();
    await page.getByRole('img', { name: /lines?: / }).waitFor();
    await page.keyboard.press('j');
    await page.keyboard.press('Enter');
    await page.getByRole('complementary', { name: 'Log line' }).getByText('request_id').first().waitFor();
    await page.keyboard.press('v');
    await page.waitForURL(new RegExp(`journey\\?.*id=${known.traceId}`));
    await page.locator('[role=treegrid]').waitFor();
  });
});

test('FailedSpansAreListed', async () => {
  await onPage('/w/default/evidence/traces?status=error', {}, async (page) => {
    await page.locator('[role=grid] [role=gridcell]').first().waitFor();
    await page.keyboard.press('j');
    await page.keyboard.press('Enter');
    await page.getByRole('complementary', { name: 'Span' }).getByText('Identifiers').waitFor();
  });
});

test('IngestIsSaidInTheStatusLine', async () => {
  await onPage(logs(), {}, async (page) => {
    await page
      .getByRole('contentinfo', { name: 'Ingest' })
      .getByText(/behind/)
      .first()
      .waitFor();
    await page.getByRole('banner').getByText(/^Live/).waitFor();
    await page.getByRole('button', { name: 'Following' }).waitFor();
  });
});

test('AxeFindsNothingOnRealRows', async () => {
  for (const [path, ready] of [
    [journey(known.traceId), '[role=treegrid]'],
    [logs(`?q=${known.word}`), '[role=grid]'],
  ]) {
    for (const theme of ['light', 'dark']) {
      await onPage(path, { theme }, async (page) => {
        await page.locator(ready).waitFor();
        await settled(page);
        await axe(page, path);
      });
    }
  }
});

test('ALineThatArrivesAppearsByItself', async () => {
  await onPage(logs(), {}, async (page) => {
    await page.getByRole('button', { name: 'Following' }).waitFor();
    const line = `${known.word} tail ${Date.now()}`;
    await sendLine(base, line);
    await page.locator('[role=grid] [role=row]').filter({ hasText: line }).waitFor();
    assert.equal(await page.locator('[role=grid] [role=row]').filter({ hasText: line }).count(), 1);
  });
});
