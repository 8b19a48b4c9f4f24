// messages.mjs - /v1/messages by Anthropic's own client.
//
//   node messages.mjs URL KEY
import Anthropic, { AuthenticationError, BadRequestError, NotFoundError } from '@anthropic-ai/sdk';
import { same, thrown, verdict } from './check.mjs';

const [baseURL, apiKey] = process.argv.slice(2);
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
