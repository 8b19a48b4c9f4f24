// responses.mjs - /v1/responses by OpenAI's own client.
//
//   node responses.mjs URL
import OpenAI, { BadRequestError } from 'openai';
import { same, thrown, verdict } from './check.mjs';

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: 'none', maxRetries: 0 });
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

const kept = await thrown(() => client.responses.create({ ...request, store: true }));
same('responses: not kept', [true, 'store'], [kept instanceof BadRequestError, kept?.param]);
const before = await thrown(() => client.responses.create({ ...request, previous_response_id: 'x' }));
same('responses: none before', [true, 'previous_response_id'],
  [before instanceof BadRequestError, before?.param]);
const got = await thrown(() => client.responses.retrieve(whole.id));
same('responses: none to get', 404, got?.status);

verdict();
