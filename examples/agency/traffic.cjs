// The operators of the agency: sends campaigns to the web app at a steady rate, for ever or for a number of them.
'use strict';
const { call, address, sleep } = require('./lib/http.cjs');

const CLIENTS = ['harbor-pine', 'brightside', 'lumen-yoga', 'northlight', 'copper-kettle', 'alder-co', 'fjord-travel', 'mint-dental'];
const PLATFORMS = [['instagram', 'reels'], ['instagram', 'feed'], ['tiktok', 'shorts'], ['youtube', 'shorts'], ['linkedin', 'feed']];
const LANES = ['planning', 'creation', 'publishing', 'engagement'];
const KINDS = ['draft', 'publish', 'publish', 'reply'];
const pick = (list) => list[Math.floor(Math.random() * list.length)];

const perSecond = Number(process.env.AGENCY_RATE ?? 2);
const total = Number(process.env.AGENCY_CAMPAIGNS ?? Infinity);

async function main() {
  for (let sent = 0; sent < total; sent++) {
    const [platform, surface] = pick(PLATFORMS);
    const campaign = { client_id: pick(CLIENTS), platform, surface, lane: pick(LANES), kind: pick(KINDS), blueprint_id: `bp_${1 + Math.floor(Math.random() * 6)}`, requested_by: 'mara.lindqvist@agency.example' };
    call(`${address('web')}/campaigns`, campaign).catch(() => {});  // the web app logs what went wrong
    await sleep(1000 / perSecond * (0.5 + Math.random()));
  }
}
main();
