// page.mjs URL SLOW_URL KEYED_URL BARE_URL KEY OUTPUT - the page in Chromium, as
// people with a mouse, a keyboard, a phone or a screen reader meet it.
//
// SLOW_URL: the same, slow enough to be stopped. KEYED_URL: asks for KEY.
// BARE_URL: a model without chat template.
import { chromium } from 'playwright-core';
import { same, verdict } from './check.mjs';

const [url, slow, keyed, bare, KEY, output] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  // In a container Chromium has neither the rights for its sandbox nor much of /dev/shm.
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'],
});

// A page of its own, with what it complained of and where it went.
async function open(at, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(10000);
  const seen = { complaints: [], requests: [], page };
  page.on('console', (m) => m.type() === 'error' && seen.complaints.push(m.text()));
  page.on('pageerror', (e) => seen.complaints.push(String(e)));
  page.on('request', (r) => seen.requests.push(r));
  seen.answer = await page.goto(at);
  return seen;
}

const answered = (page, n) =>
  page.locator('.turn.assistant .note').nth(n - 1).waitFor();
const outside = (seen, at) => seen.requests.map((r) => r.url())
  .filter((u) => !u.startsWith(`${at}/`) && !u.startsWith('data:'));
const ask = async (page, text) => {
  await page.getByRole('textbox', { name: /Message|Text to continue/ }).fill(text);
  await page.getByRole('button', { name: 'Send' }).click();
};
const metric = async (at, name) => {
  const text = await (await fetch(`${at}/metrics`)).text();
  return Number(text.match(new RegExp(`^bitnetd_${name} (.*)$`, 'm'))[1]);
};

// ---- a desk ----

const desk = await open(url);
let { page } = desk;
same('the policy', true, /^default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$/
  .test(desk.answer.headers()['content-security-policy']));
await page.getByText('1024 tokens of context').waitFor();

await page.getByText('Live metrics').click();
await page.waitForFunction(() => document.getElementById('m-tokens').textContent === '0');
await page.getByLabel('Most tokens').fill('24');
await page.getByLabel('Seed').fill('7');
await page.getByLabel('System prompt').fill('You know foxes.');
await page.getByLabel('Stop texts').fill('User:\n\\n\\n');
await ask(page, 'Who is the fox?');
await answered(page, 1);
const [post] = desk.requests.filter((r) => r.method() === 'POST');
const body = post.postDataJSON();
same('chat: the request',
  { stream: true, stream_options: { include_usage: true }, max_tokens: 24, seed: 7, stop: ['User:', '\n\n'],
    messages: [{ role: 'system', content: 'You know foxes.' }, { role: 'user', content: 'Who is the fox?' }] },
  body);
const alone = await (await fetch(`${url}/v1/chat/completions`,
  { method: 'POST', body: JSON.stringify({ ...body, stream: false, stream_options: undefined }) })).json();
const texts = page.locator('.turn.assistant .text');
same('chat: the text is the server\'s', alone.choices[0].message.content.replace(/^\n+/, ''), await texts.nth(0).textContent());
await ask(page, 'And then?');
await answered(page, 2);
same('chat: the second turn has the first',
  ['system', 'user', 'assistant', 'user'],
  desk.requests.filter((r) => r.method() === 'POST')[1].postDataJSON().messages.map((m) => m.role));

await page.waitForFunction(() => Number(document.getElementById('m-rate').textContent) > 0);
same('metrics: nothing runs', '0', await page.locator('#m-running').textContent());
await page.getByText('Selection of kernels').click();
await page.waitForFunction(() => document.getElementById('selection-text').textContent.includes('pointwise'));
const table = await (await fetch(`${url}/selection`)).text();
same('selection: every line is there', table.split('\n').filter(Boolean).length,
  (await page.locator('#selection-text').textContent()).split('\n').filter((l) => /^\S/.test(l)).length);
await page.locator('#selection summary').click();
await page.locator('#panel').evaluate((e) => e.scrollTo(0, 0));
await page.screenshot({ path: `${output}/page.png` });

await page.getByText('Completion', { exact: true }).click();
await page.getByLabel('Stop texts').fill('');
for (const n of [1, 2]) {
  await ask(page, 'Once upon a time');
  await answered(page, n);
}
const said = await texts.allTextContents();
same('completion: goes on from the prompt', true, said[0].startsWith('Once upon a time') && said[0].length > 30);
same('completion: the same seed, the same text', said[0], said[1]);
const markup = '<img src=x onerror=alert(1)><b>bold</b>';
await page.getByLabel('Most tokens').fill('1');
await ask(page, markup);
await answered(page, 3);
same('markup stays text', [true, 0],
  [(await texts.nth(2).textContent()).startsWith(markup), await page.locator('#log img, #log b').count()]);

await page.getByLabel('Temperature').fill('-1');
await ask(page, 'x');
const alert = page.getByRole('alert');
await alert.waitFor();
same('a refusal is shown', true, (await alert.textContent()).includes('temperature'));
// Chromium itself puts failed requests on the console.
same('no complaints', [], desk.complaints.filter((t) => !/status of 400/.test(t)));
same('no requests to elsewhere', [], outside(desk, url));

// ---- the stop button ----

const slowly = await open(slow);
page = slowly.page;
await page.getByText('Completion', { exact: true }).click();
await page.getByLabel('Most tokens').fill('900');
for (const how of ['button', 'Escape']) {
  await ask(page, 'Once upon a time');
  await page.waitForFunction(() => [...document.querySelectorAll('.turn[aria-busy] .text')]
    .some((e) => e.textContent.length > 24));
  same(`${how}: it was running`, 1, await metric(slow, 'requests_running'));
  if (how === 'button')
    await page.getByRole('button', { name: 'Stop' }).click();
  else
    await page.keyboard.press('Escape');
  await page.getByText('Stopped.').nth(how === 'button' ? 0 : 1).waitFor();
  let running = 1;
  for (let i = 0; i < 40 && running; i++) {
    await new Promise((r) => setTimeout(r, 50));
    running = await metric(slow, 'requests_running');
  }
  same(`${how}: the server stopped too`, 0, running);
}
same('the speed is told', 2, (await page.locator('.note').allTextContents())
  .filter((t) => /^Stopped\..*[1-9][0-9.]* tokens\/s, first after \d+ ms$/.test(t)).length);
same('what was said stays', 2, (await texts_of(page)).filter((t) => t.length > 24).length);
same('slow: no complaints', [], slowly.complaints);

function texts_of(p) { return p.locator('.turn.assistant .text').allTextContents(); }

// ---- a key ----

const guarded = await open(keyed);
page = guarded.page;
const dialog = page.getByRole('dialog', { name: 'API key' });
await dialog.waitFor();
await page.getByLabel('Key', { exact: true }).fill(KEY);
await page.keyboard.press('Enter');
await page.getByText(', 1024 tokens').waitFor();
same('key: goes into the header',  `Bearer ${KEY}`,
  guarded.requests.at(-1).headers().authorization);
same('key: kept in the tab alone', [KEY, 0, ''], await page.evaluate(() =>
  [sessionStorage.getItem('bitnetd-key'), localStorage.length, document.cookie]));
await page.getByLabel('Most tokens').fill('4');
await ask(page, 'Hello');
await answered(page, 1);
same('key: no complaints', [], guarded.complaints.filter((t) => !/status of 401/.test(t)));

// ---- no chat template ----

const plain = await open(bare);
page = plain.page;
await page.getByText(', 1024 tokens').waitFor();
same('no template: completion is chosen', true, await page.getByLabel('Completion').isChecked());
await page.getByText('Chat', { exact: true }).click();
await page.getByText('This model has no chat template.').waitFor();
await ask(page, 'Hello');
await page.getByRole('alert').waitFor();
same('no template: the server\'s words', true,
  (await page.getByRole('alert').textContent()).includes('template'));

// ---- a phone ----

const phone = await open(url, { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2,
  isMobile: true, hasTouch: true, colorScheme: 'dark' });
page = phone.page;
const wide = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
await page.getByRole('button', { name: 'Settings' }).tap();
await page.getByLabel('Most tokens').fill('40');
await page.getByText('Live metrics').tap();
await page.getByText('Selection of kernels').tap();
await page.waitForFunction(() => document.getElementById('selection-text').textContent.length > 100);
same('phone: settings fit', 0, await wide());
await page.getByRole('button', { name: 'Back' }).tap();
await ask(page, 'Tell me about the fox, the bear and averyveryveryveryveryveryveryverylongword');
await answered(page, 1);
same('phone: the conversation fits', 0, await wide());
same('phone: the prompt is on the screen', true,
  (await page.getByRole('button', { name: 'Send' }).boundingBox()).y < 740);
await page.screenshot({ path: `${output}/phone.png` });
same('phone: no complaints', [], phone.complaints);

// ---- a keyboard ----

const hands = await open(url);
page = hands.page;
await page.getByText(', 1024 tokens').waitFor();
await page.keyboard.type('First line');
await page.keyboard.press('Shift+Enter');
await page.keyboard.type('second');
same('keyboard: two lines', 'First line\nsecond', await page.locator('#prompt').inputValue());
await page.keyboard.press('Enter');
await answered(page, 1);
same('keyboard: Enter sent both', 'First line\nsecond', await page.locator('.turn.user .text').textContent());
same('keyboard: back at the prompt', 'prompt', await page.evaluate(() => document.activeElement.id));
await page.locator('#key-open').focus();
const order = [];
for (let i = 0; i < 9; i++) {
  await page.keyboard.press('Tab');
  order.push(await page.evaluate(() => {
    const e = document.activeElement, o = getComputedStyle(
      e.name === 'mode' ? e.nextElementSibling : e);
    return `${e.id || e.name || e.className || e.tagName}${o.outlineStyle === 'none' ? ' unseen' : ''}`;
  }));
}
const places = ['mode', 'clear', 'log', 'prompt', 'send'];
same('keyboard: the order, and where one is', places, order.filter((o) => places.includes(o)));
same('keyboard: nothing is focused unseen', [], order.filter((o) => o.endsWith('unseen')));

// ---- a screen reader ----

const tree = await page.locator('body').ariaSnapshot();
for (const name of ['banner', 'main', 'complementary "Settings and server"', 'heading "bitnetd" [level=1]',
  'log "Conversation"', 'article "Answer"', 'textbox "Message"', 'button "Send"', 'button "Clear"',
  'button "API key"', 'radio "Chat" [checked]', 'spinbutton "Temperature"', 'spinbutton "Seed"'])
  same(`tree: ${name}`, true, tree.includes(name));
same('everything to press or fill has a name', [], await page.evaluate(() =>
  [...document.querySelectorAll('button, input, textarea')]
    .filter((e) => !(e.textContent.trim() && e.tagName === 'BUTTON') && !(e.labels && e.labels.length) &&
      !e.getAttribute('aria-label')).map((e) => e.id)));

await browser.close();
verdict();
