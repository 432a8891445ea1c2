// What every browser test needs: a server, a browser, and a page that fails the test when it complains.
//
// Without BASE_URL the fixture server is started; with it the tests run against that address, and those that need to
// make the server fail on demand (`fixtureOnly`) are left out.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before } from 'node:test';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';
import { startFixture } from '../fixture_server.mjs';

export { IDS } from '../fixture_server.mjs';
export const fixtureOnly = process.env.BASE_URL ? { skip: 'needs the fixture server' } : {};

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
let browser;
let fixture;
export let base;

export function useBrowser() {
  before(async () => {
    fixture = process.env.BASE_URL ? undefined : await startFixture();
    base = process.env.BASE_URL ?? fixture.url;
    browser = await chromium.launch({
      executablePath: '/usr/bin/chromium',
      args: ['--no-sandbox', '--disable-gpu', '--disable-quic'],
    });
  });
  after(async () => {
    await browser?.close();
    await fixture?.close();
  });
}

export async function control(change) {
  await fetch(`${base}/_fixture`, { method: 'POST', body: JSON.stringify(change) });
}
// Waits until as many pages follow the tail, as the fixture knows it: a closed connection brings nothing more.
export async function tails(count) {
  for (const end = Date.now() + 10_000; ;) {
    const open = (await (await fetch(`${base}/_fixture`)).json()).tails;
    if (open === count) return;
    assert.ok(Date.now() < end, `${open} tails are open, not ${count}`);
  }
}
export async function calm() {
  await control({
    delayMs: 0,
    fail: {},
    partial: false,
    never: false,
    down: false,
    lag_ms: 1200,
    dropped: 0,
    token: '',
    workspace: 'default',
    skew: [],
  });
}
export async function sendLog(log) {
  await fetch(`${base}/_fixture/log`, { method: 'POST', body: JSON.stringify(log) });
}
export async function sendDropped() {
  await fetch(`${base}/_fixture/dropped`, { method: 'POST' });
}
export const cspReports = () => fixture?.stats.csp ?? [];

// Opens `path` and gives the page to `run`. Afterwards: no console error, no request to another origin, no failed
// request; `tolerate` names what a test brings about on purpose.
export async function onPage(path, options, run) {
  const { width = 1440, height = 900, theme = 'light', tolerate = [], ...context } = options;
  const opened = await browser.newContext({
    viewport: { width, height },
    colorScheme: theme,
    reducedMotion: 'reduce',
    locale: 'en-GB',
    timezoneId: 'UTC',
    ...context,
  });
  await opened.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: base });
  opened.setDefaultTimeout(15_000);
  opened.setDefaultNavigationTimeout(60_000);
  const page = await opened.newPage();
  const complaints = [];
  page.on('console', (m) => ['error', 'warning'].includes(m.type()) && complaints.push(`${m.type()}: ${m.text()}`));
  page.on('pageerror', (e) => complaints.push(`exception: ${e.stack}`));
  page.on('request', (r) => r.url().startsWith(base) || complaints.push(`foreign request: ${r.url()}`));
  page.on('response', (r) => r.status() >= 400 && complaints.push(`${r.status()} ${r.url()}`));
  // Counted from the first byte, without what follows an action of the user.
  await page.addInitScript(() => {
    window.layoutShift = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.layoutShift += entry.value;
    }).observe({ type: 'layout-shift', buffered: true });
  });
  try {
    await page.goto(base + path);
    await run(page);
    const left = complaints.filter((c) => !tolerate.some((t) => c.includes(t)));
    assert.deepEqual(left, [], 'the page complained');
  } finally {
    await opened.close();
  }
}

export async function axe(page, what) {
  await page.evaluate(axeSource);
  const found = await page.evaluate(() =>
    window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] }),
  );
  const told = found.violations.map(
    (v) =>
      `${v.id}: ${v.help}\n${v.nodes
        .slice(0, 4)
        .map((n) => `    ${n.html.slice(0, 160)}  ${n.failureSummary?.split('\n')[1] ?? ''}`)
        .join('\n')}`,
  );
  assert.deepEqual(told, [], `axe on ${what}`);
}

export async function noSidewaysScroll(page) {
  const wide = await page.evaluate(() => document.scrollingElement.scrollWidth - window.innerWidth);
  assert.ok(wide <= 0, `the page is ${wide} px too wide`);
}

// What a key or a scroll brings about is drawn with the next frame; after the second one it has been.
export async function frames(page) {
  await page.evaluate(
    () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => resolve(undefined)))),
  );
}
// Drawn, with its fonts, and nothing moves any more.
export async function settled(page) {
  await frames(page);
  await page.evaluate(async () => {
    await document.fonts.ready;
    // One that is cancelled, because what it moved is gone, is over too.
    await Promise.allSettled(document.getAnimations().map((a) => a.finished));
  });
}

export const row = (page) => page.locator('[role=row][aria-selected=true]');
export const journey = (id, more = '') => `/w/default/evidence/journey?id=${encodeURIComponent(id)}${more}`;
export const logs = (query = '') => `/w/default/evidence/logs${query}`;
