// retry.mjs - a full queue, and clients that come again.
//
//   node retry.mjs URL
//
// The server takes one request at a time and lets one wait.
import Anthropic from '@anthropic-ai/sdk';
import OpenAI, { RateLimitError } from 'openai';
import { same, verdict } from './check.mjs';

const url = process.argv[2];
const open = (maxRetries) => ({ maxRetries, apiKey: 'none', timeout: 60000 });
const chat = (client) => client.chat.completions.create({
  model: '', messages: [{ role: 'user', content: 'A fox.' }], max_tokens: 100, temperature: 0,
});
const hasty = new OpenAI({ baseURL: `${url}/v1`, ...open(0) });
const patient = new OpenAI({ baseURL: `${url}/v1`, ...open(20) });

const refused = (await Promise.allSettled(Array.from({ length: 8 }, () => chat(hasty))))
  .filter((r) => r.status === 'rejected').map((r) => r.reason);
same('retry: a full queue refuses', true, refused.length > 0);
same('retry: with 429', true,
  refused.every((e) => e instanceof RateLimitError && e.code === 'queue_full'));
same('retry: and says when to come again', true,
  refused.every((e) => Number(e.headers.get('retry-after')) >= 1));

const texts = (await Promise.all(Array.from({ length: 5 }, () => chat(patient))))
  .map((r) => r.choices[0].message.content);
same('retry: who comes again is served', [5, 1], [texts.length, new Set(texts).size]);

const other = new Anthropic({ baseURL: url, ...open(20) });
const [first, second, third, fourth] = await Promise.all(Array.from({ length: 4 }, () =>
  other.messages.create({ model: 'story', max_tokens: 100, temperature: 0,
    messages: [{ role: 'user', content: 'A fox.' }] })));
same('retry: the other client too', [texts[0], texts[0], texts[0], texts[0]],
  [first, second, third, fourth].map((m) => m.content[0].text));

verdict();
