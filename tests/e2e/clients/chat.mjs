// chat.mjs - conversations, tools, structured output and vectors by OpenAI's own client.
//
//   KEY=... node chat.mjs URL
import OpenAI, { APIUserAbortError, BadRequestError, NotFoundError } from 'openai';
import { same, thrown, verdict } from './check.mjs';

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: process.env.KEY, maxRetries: 0 });
const model = (await client.models.list()).data[0].id;
const messages = [{ role: 'system', content: 'Tell a story.' }, { role: 'user', content: 'A fox.' }];
const request = { model, messages, max_tokens: 24, temperature: 0 };

// ---- whole and streamed ----

const whole = await client.chat.completions.create(request);
const text = whole.choices[0].message.content;
same('chat: role', 'assistant', whole.choices[0].message.role);
same('chat: some text', true, text.length > 0);
same('chat: finish reason', 'length', whole.choices[0].finish_reason);
same('chat: usage', [24, true], [whole.usage.completion_tokens, whole.usage.prompt_tokens > 10]);

let streamed = '';
let usage = null;
const reasons = [];
for await (const chunk of await client.chat.completions.create({
  ...request, stream: true, stream_options: { include_usage: true },
})) {
  for (const c of chunk.choices) {
    streamed += c.delta.content ?? '';
    if (c.finish_reason) reasons.push(c.finish_reason);
  }
  usage = chunk.usage ?? usage;
}
same('chat: streamed text', text, streamed);
same('chat: streamed end', ['length'], reasons);
same('chat: streamed usage', whole.usage.total_tokens, usage.total_tokens);
const helper = client.chat.completions.stream(request);
same('chat: the helper puts the stream together', text, await helper.finalContent());

const two = await client.chat.completions.create({ ...request, temperature: 1, n: 2, seed: 5 });
same('chat: two choices', [0, 1], two.choices.map((c) => c.index));
same('chat: each drawn by itself', false,
  two.choices[0].message.content === two.choices[1].message.content);

const word = text.trim().split(/\s+/)[3];
const cut = await client.chat.completions.create({ ...request, stop: word });
same('chat: ends before a stop', [text.slice(0, text.indexOf(word)), 'stop'],
  [cut.choices[0].message.content, cut.choices[0].finish_reason]);

const probable = await client.chat.completions.create({ ...request, logprobs: true, top_logprobs: 3 });
const each = probable.choices[0].logprobs.content;
same('chat: a logprob for each token', 24, each.length);
same('chat: tokens make the text', text, each.map((t) => t.token).join(''));
same('chat: temperature 0 takes the likeliest', true,
  each.every((t) => t.top_logprobs.length === 3 && t.top_logprobs[0].token === t.token));

// ---- tools, and texts of a given form ----

const parameters = { type: 'object', properties: { city: { enum: ['Rome', 'Oslo'] },
  sunny: { type: 'boolean' } }, required: ['city', 'sunny'], additionalProperties: false };
const tools = [{ type: 'function', function: { name: 'note_weather', parameters } }];
const fits = (text) => {
  const { city, sunny, ...rest } = JSON.parse(text);
  return ['Rome', 'Oslo'].includes(city) && typeof sunny === 'boolean' && !Object.keys(rest).length;
};
const asking = { ...request, max_tokens: 120, tools, tool_choice: 'required',
  parallel_tool_calls: false };
const called = (await client.chat.completions.create(asking)).choices[0];
const [call] = called.message.tool_calls;
same('tools: a demanded call', ['tool_calls', null, 1, 'note_weather', true],
  [called.finish_reason, called.message.content, called.message.tool_calls.length,
    call.function.name, fits(call.function.arguments)]);
const streamedCall = (await client.chat.completions.stream(asking).finalChatCompletion()).choices[0];
same('tools: streamed', [call.function, 'tool_calls'],
  [(({ name, arguments: a }) => ({ name, arguments: a }))(streamedCall.message.tool_calls[0].function),
    streamedCall.finish_reason]);
const answered = await client.chat.completions.create({ ...request, tools, messages: [...messages,
  called.message, { role: 'tool', tool_call_id: call.id, content: 'noted' }] });
same('tools: the conversation goes on behind a result', 'string',
  typeof answered.choices[0].message.content);
const free = (await client.chat.completions.create({ ...request, tools })).choices[0];
same('tools: a model that calls none', [undefined, true],
  [free.message.tool_calls, free.message.content.length > 0]);
const none = await thrown(() => client.chat.completions.create({ ...asking,
  tool_choice: { type: 'function', function: { name: 'other' } } }));
same('tools: one that is not there', true, none instanceof BadRequestError);

const formed = await client.chat.completions.create({ ...request, max_tokens: 120,
  response_format: { type: 'json_schema', json_schema: { name: 'w', strict: true, schema: parameters } } });
same('format: a text of the schema', true, fits(formed.choices[0].message.content));
const object = await client.chat.completions.create({ ...request, max_tokens: 120, n: 2, seed: 1,
  response_format: { type: 'json_object' }, stop: ['}'] });
same('format: JSON objects', true, object.choices.every((c) => c.message.content.startsWith('{')));
const odd = await thrown(() => client.chat.completions.create({ ...request, response_format:
  { type: 'json_schema', json_schema: { name: 'w', schema: { type: 'nothing' } } } }));
same('format: a wrong schema is refused', true, odd instanceof BadRequestError);

// ---- errors ----

const bad = await thrown(() => client.chat.completions.create({ ...request, messages: 'Hi' }));
same('chat: a bad request', [true, 'messages'], [bad instanceof BadRequestError, bad?.param]);
const image = await thrown(() => client.chat.completions.create({
  ...request, messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: '' } }] }],
}));
same('chat: what is no text is refused', [true, 'unsupported_value'],
  [image instanceof BadRequestError, image?.code]);
const other = await thrown(() => client.chat.completions.create({ ...request, model: 'another' }));
same('chat: another model', [true, 'model_not_found'], [other instanceof NotFoundError, other?.code]);

const abort = new AbortController();
const left = await thrown(async () => {
  const stream = await client.chat.completions.create({ ...request, max_tokens: 400, stream: true },
    { signal: abort.signal });
  for await (const chunk of stream) if (chunk.choices[0]?.delta.content) abort.abort();
  throw new APIUserAbortError();
});
same('chat: leaving a stream', true, left instanceof APIUserAbortError);
same('chat: nobody else is hurt', text,
  (await client.chat.completions.create(request)).choices[0].message.content);

// ---- vectors ----

const vectors = await client.embeddings.create({ model, input: ['A fox.', 'A fox.', 'The sea'] });
const [a, b, c] = vectors.data.map((d) => d.embedding);
const dot = (x, y) => x.reduce((sum, v, i) => sum + v * y[i], 0);
same('embeddings: in order', [0, 1, 2], vectors.data.map((d) => d.index));
same('embeddings: of length 1', true, Math.abs(dot(a, a) - 1) < 1e-5);
same('embeddings: equal for equal texts', JSON.stringify(a), JSON.stringify(b));
same('embeddings: unlike for others', true, dot(a, c) < 0.999);
const floats = await client.embeddings.create({ model, input: 'A fox.', encoding_format: 'float' });
same('embeddings: as numbers the same', true,
  floats.data[0].embedding.every((v, i) => Math.abs(v - a[i]) < 1e-6));

verdict();
