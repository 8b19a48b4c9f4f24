// responses.mjs - /v1/responses by OpenAI's own client.
//
//   KEY=... node responses.mjs URL
import OpenAI, { BadRequestError } from 'openai';
import { same, thrown, verdict } from './check.mjs';

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: process.env.KEY, maxRetries: 0 });
const model = (await client.models.list()).data[0].id;
const request = { model, instructions: 'Tell a story.', input: 'A fox.', max_output_tokens: 24,
  temperature: 0 };

const chat = await client.chat.completions.create({ model, max_tokens: 24, temperature: 0,
  messages: [{ role: 'system', content: 'Tell a story.' }, { role: 'user', content: 'A fox.' }] });
const text = chat.choices[0].message.content;
const whole = await client.responses.create(request);
same('responses: text equals that of the same chat', text, whole.output_text);
same('responses: cut', ['incomplete', 'max_output_tokens'],
  [whole.status, whole.incomplete_details?.reason]);
same('responses: usage', chat.usage.total_tokens, whole.usage.total_tokens);
same('responses: settings come back', [false, 0, request.instructions],
  [whole.store, whole.temperature, whole.instructions]);

const items = await client.responses.create({ ...request, instructions: null, input: [
  { role: 'developer', content: 'Tell a story.' },
  { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'A fox.' }] },
] });
same('responses: items are the same conversation', text, items.output_text);

let streamed = '';
let last = null;
const numbers = [];
for await (const event of await client.responses.create({ ...request, stream: true })) {
  numbers.push(event.sequence_number);
  if (event.type === 'response.output_text.delta') streamed += event.delta;
  last = event;
}
same('responses: streamed text', text, streamed);
same('responses: events are numbered', numbers.map((_, i) => i), numbers);
same('responses: the last event', 'response.incomplete', last.type);
same('responses: it has the whole text', text, last.response.output[0].content[0].text);
const final = await client.responses.stream(request).finalResponse();
same('responses: the helper puts the stream together', text, final.output[0].content[0].text);

const parameters = { type: 'object', properties: { city: { enum: ['Rome', 'Oslo'] } },
  required: ['city'], additionalProperties: false };
const fits = (json) => ['Rome', 'Oslo'].includes(JSON.parse(json).city);
const asking = { ...request, max_output_tokens: 120, tool_choice: 'required',
  parallel_tool_calls: false, tools: [{ type: 'function', name: 'note', parameters }] };
const called = await client.responses.create(asking);
same('responses: a demanded call', ['completed', 1, 'function_call', 'note', true],
  [called.status, called.output.length, called.output[0].type, called.output[0].name,
    fits(called.output[0].arguments)]);
const streamedCall = await client.responses.stream(asking).finalResponse();
same('responses: streamed', called.output[0].arguments, streamedCall.output[0].arguments);
const answered = await client.responses.create({ ...request, input: [
  { role: 'user', content: 'A fox.' }, called.output[0],
  { type: 'function_call_output', call_id: called.output[0].call_id, output: 'noted' }] });
same('responses: the conversation goes on behind a result', 'message', answered.output[0].type);
const formed = await client.responses.create({ ...request, max_output_tokens: 120,
  text: { format: { type: 'json_schema', name: 'w', schema: parameters, strict: true } } });
same('responses: a text of the schema', true, fits(formed.output_text));

const kept = await thrown(() => client.responses.create({ ...request, store: true }));
same('responses: not kept', [true, 'store'], [kept instanceof BadRequestError, kept?.param]);
const before = await thrown(() => client.responses.create({ ...request, previous_response_id: 'x' }));
same('responses: none before', [true, 'previous_response_id'],
  [before instanceof BadRequestError, before?.param]);
const got = await thrown(() => client.responses.retrieve(whole.id));
same('responses: none to get', 404, got?.status);

verdict();
