// openai.mjs - the official client against bitnetd.
//
//   node openai.mjs URL PROMPT MAX_TOKENS SEED WANT
//
// WANT is what `bitnet run` wrote for the same request.
import OpenAI, { APIError, BadRequestError, NotFoundError } from 'openai';

const [url, prompt, maxTokens, seed, want] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });
let failed = 0;

function same(name, expected, got) {
  const equal = JSON.stringify(expected) === JSON.stringify(got);
  console.log(`${equal ? 'ok' : 'not ok'} openai client: ${name}`);
  if (!equal) {
    failed++;
    console.log(`    want: ${JSON.stringify(expected)}\n    got:  ${JSON.stringify(got)}`);
  }
}

const models = await client.models.list();
same('lists one model', 1, models.data.length);
const model = models.data[0].id;
same('retrieves it', model, (await client.models.retrieve(model)).id);

const request = { model, prompt, max_tokens: Number(maxTokens), seed: Number(seed) };
const whole = await client.completions.create(request);
same('text equals bitnet run', want, whole.choices[0].text);
same('finish reason', 'length', whole.choices[0].finish_reason);
same('usage adds up', whole.usage.total_tokens,
  whole.usage.prompt_tokens + whole.usage.completion_tokens);
same('counts the tokens', Number(maxTokens), whole.usage.completion_tokens);

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
same('streamed text equals bitnet run', want, text);
same('streamed finish reason', ['length'], reasons);
same('streamed usage', whole.usage, usage);

const all = await Promise.all([0, 1, 2, 3].map(() => client.completions.create(request)));
same('four at once', [want, want, want, want], all.map((a) => a.choices[0].text));

// Leaving in the middle must not harm the next request.
const left = await client.completions.create({ ...request, max_tokens: 300, stream: true });
for await (const event of left) {
  if (event.choices.length) break;
}
same('after leaving a stream', want, (await client.completions.create(request)).choices[0].text);

async function error(body) {
  try {
    await client.completions.create({ ...request, ...body });
  } catch (e) {
    return e;
  }
  return null;
}
const bad = await error({ temperature: 'hot' });
same('a bad request is BadRequestError', true, bad instanceof BadRequestError);
same('its parameter', 'temperature', bad.param);
const other = await error({ model: 'another' });
same('an unknown model is NotFoundError', true, other instanceof NotFoundError);
same('its code', 'model_not_found', other.code);
same('errors are APIError', true, bad instanceof APIError && other instanceof APIError);

process.exit(failed ? 1 : 0);
