// sse.mjs - the streams, read by a parser that is not ours and knows no API.
//
//   KEY=... node sse.mjs URL
import { createParser } from 'eventsource-parser';
import { same, verdict } from './check.mjs';

const url = process.argv[2];

async function events(path, body) {
  const list = [];
  const errors = [];
  const parser = createParser({ onEvent: (e) => list.push(e), onError: (e) => errors.push(e.type) });
  const answer = await fetch(`${url}${path}`, { method: 'POST', body: JSON.stringify(body),
    headers: { 'x-api-key': process.env.KEY } });
  const type = answer.headers.get('content-type');
  for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) parser.feed(chunk);
  same(`sse: ${path} is an event stream`, [true, []], [type.startsWith('text/event-stream'), errors]);
  return list;
}

const parse = (e) => JSON.parse(e.data);
const messages = [{ role: 'user', content: 'A fox.' }];
const base = { max_tokens: 16, temperature: 0, stream: true };

const completions = await events('/v1/completions', { ...base, prompt: 'The fox' });
same('sse: completions end with [DONE]', '[DONE]', completions.pop()?.data);
same('sse: completions are JSON', true,
  completions.map(parse).every((e) => e.object === 'text_completion'));
const chat = await events('/v1/chat/completions', { ...base, messages });
same('sse: chat ends with [DONE]', '[DONE]', chat.pop()?.data);
const text = chat.map(parse).map((e) => e.choices[0]?.delta.content ?? '').join('');
const anthropic = await events('/v1/messages', { ...base, messages });
same('sse: events of messages have the name of their type', true,
  anthropic.every((e) => e.event === parse(e).type));
same('sse: the same text', text,
  anthropic.map(parse).map((e) => e.delta?.text ?? '').join(''));
const responses = await events('/v1/responses', { ...base, max_output_tokens: 16, input: 'A fox.' });
same('sse: events of responses have the name of their type', true,
  responses.every((e) => e.event === parse(e).type));
same('sse: and the same text', text, responses.map(parse)
  .filter((e) => e.type === 'response.output_text.delta').map((e) => e.delta).join(''));

verdict();
