// openai.mjs - completions by OpenAI's own client.
//
//   KEY=... node openai.mjs URL PROMPT MAX_TOKENS SEED WANT
//
// WANT is what `bitnet run` wrote for the same request.
import OpenAI, { APIError, BadRequestError, NotFoundError } from 'openai';
import { same, verdict } from './check.mjs';

const [url, prompt, maxTokens, seed, want] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: process.env.KEY, maxRetries: 0 });
const models = await client.models.list();
same('openai client: lists one model', 1, models.data.length);
const model = models.data[0].id;
same('openai client: retrieves it', model, (await client.models.retrieve(model)).id);

const request = { model, prompt, max_tokens: Number(maxTokens), seed: Number(seed) };
const whole = await client.completions.create(request);
same('openai client: text equals bitnet run', want, whole.choices[0].text);
same('openai client: finish reason', 'length', whole.choices[0].finish_reason);
same('openai client: usage adds up', whole.usage.total_tokens,
  whole.usage.prompt_tokens + whole.usage.completion_tokens);
same('openai client: counts the tokens', Number(maxTokens), whole.usage.completion_tokens);

let text = '';
let usage = null;
const reasons = [];
const stream = await client.completions.create({
  ...request, stream: true, stream_options: { include_usage: true },
});
for await (const event of stream) {
  for (const choice of event.choices) {
    text += choice.text;
    if (choice.finish_reason) reasons.push(choice.finish_reason);
  }
  usage = event.usage ?? usage;
}
same('openai client: streamed text equals bitnet run', want, text);
same('openai client: streamed finish reason', ['length'], reasons);
// The same prompt was read before: all but its last token is known.
same('openai client: streamed usage', { ...whole.usage,
  prompt_tokens_details: { cached_tokens: whole.usage.prompt_tokens - 1 } }, usage);

const all = await Promise.all([0, 1, 2, 3].map(() => client.completions.create(request)));
same('openai client: four at once', [want, want, want, want], all.map((a) => a.choices[0].text));

// Leaving in the middle must not harm the next request.
const left = await client.completions.create({ ...request, max_tokens: 300, stream: true });
for await (const event of left) {
  if (event.choices.length) break;
}
same('openai client: after leaving a stream', want, (await client.completions.create(request)).choices[0].text);

async function error(body) {
  try {
    await client.completions.create({ ...request, ...body });
  } catch (e) {
    return e;
  }
  return null;
}
const bad = await error({ temperature: 'hot' });
same('openai client: a bad request is BadRequestError', true, bad instanceof BadRequestError);
same('openai client: its parameter', 'temperature', bad.param);
const other = await error({ model: 'another' });
same('openai client: an unknown model is NotFoundError', true, other instanceof NotFoundError);
same('openai client: its code', 'model_not_found', other.code);
same('openai client: errors are APIError', true, bad instanceof APIError && other instanceof APIError);

verdict();
