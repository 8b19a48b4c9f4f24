// messages.mjs - /v1/messages by Anthropic's own client.
//
//   KEY=... node messages.mjs URL
import Anthropic, { AuthenticationError, BadRequestError, NotFoundError } from '@anthropic-ai/sdk';
import { same, thrown, verdict } from './check.mjs';

const baseURL = process.argv[2];
const apiKey = process.env.KEY;
const client = new Anthropic({ baseURL, apiKey, maxRetries: 0 });
const model = (await client.models.list()).data[0].id;
const request = { model, system: 'Tell a story.', max_tokens: 24, temperature: 0,
  messages: [{ role: 'user', content: 'A fox.' }] };

const whole = await client.messages.create(request);
const { text } = whole.content[0];
same('messages: one block of text', [1, 'text', true],
  [whole.content.length, whole.content[0].type, text.length > 0]);
same('messages: stop reason', 'max_tokens', whole.stop_reason);
same('messages: usage', 24, whole.usage.output_tokens);
const counted = await client.messages.countTokens({ model, system: request.system,
  messages: request.messages });
same('messages: counted beforehand', counted.input_tokens,
  whole.usage.input_tokens + whole.usage.cache_read_input_tokens);

const blocks = await client.messages.create({ ...request,
  system: [{ type: 'text', text: 'Tell a story.' }],
  messages: [{ role: 'user', content: [{ type: 'text', text: 'A ' }, { type: 'text', text: 'fox.' }] }] });
same('messages: blocks are the same conversation', text, blocks.content[0].text);

let streamed = '';
const kinds = [];
for await (const event of await client.messages.create({ ...request, stream: true })) {
  if (event.type === 'content_block_delta') streamed += event.delta.text;
  else kinds.push(event.type);
}
same('messages: streamed text', text, streamed);
same('messages: events', ['message_start', 'content_block_start', 'content_block_stop',
  'message_delta', 'message_stop'], kinds);
const final = await client.messages.stream(request).finalMessage();
same('messages: the helper puts the stream together', [text, 'max_tokens', 24],
  [final.content[0].text, final.stop_reason, final.usage.output_tokens]);

const word = text.trim().split(/\s+/)[3];
const cut = await client.messages.create({ ...request, stop_sequences: [word] });
same('messages: ends before a stop sequence',
  [text.slice(0, text.indexOf(word)), 'stop_sequence', word],
  [cut.content[0].text, cut.stop_reason, cut.stop_sequence]);

const begun = text.slice(0, text.indexOf(word)).trim();
const on = await client.messages.create({ ...request,
  messages: [...request.messages, { role: 'assistant', content: begun }] });
same('messages: an answer that was begun goes on', true, on.content[0].text.length > 0);

const tools = [{ name: 'note', description: 'Notes a city.', input_schema: { type: 'object',
  properties: { city: { enum: ['Rome', 'Oslo'] } }, required: ['city'], additionalProperties: false } }];
const asking = { ...request, max_tokens: 120, tools,
  tool_choice: { type: 'any', disable_parallel_tool_use: true } };
const called = await client.messages.create(asking);
const [use] = called.content;
same('messages: a demanded use of a tool', ['tool_use', 1, 'tool_use', 'note', true],
  [called.stop_reason, called.content.length, use.type, use.name,
    ['Rome', 'Oslo'].includes(use.input.city)]);
const streamedUse = await client.messages.stream(asking).finalMessage();
same('messages: streamed', [use.input, 'tool_use'],
  [streamedUse.content[0].input, streamedUse.stop_reason]);
const answered = await client.messages.create({ ...request, tools, messages: [...request.messages,
  { role: 'assistant', content: called.content },
  { role: 'user', content: [{ type: 'tool_result', tool_use_id: use.id, content: 'noted' }] }] });
same('messages: the conversation goes on behind a result', 'text', answered.content[0].type);

const bad = await thrown(() => client.messages.create({ ...request, max_tokens: undefined }));
same('messages: max_tokens is required', [true, 'invalid_request_error'],
  [bad instanceof BadRequestError, bad?.error?.error?.type]);
const other = await thrown(() => client.messages.create({ ...request, model: 'another' }));
same('messages: another model', [true, 'not_found_error'],
  [other instanceof NotFoundError, other?.error?.error?.type]);
const stranger = new Anthropic({ baseURL, apiKey: 'wrong', maxRetries: 0 });
const out = await thrown(() => stranger.messages.create(request));
same('messages: a wrong key', [true, 'authentication_error'],
  [out instanceof AuthenticationError, out?.error?.error?.type]);

verdict();
