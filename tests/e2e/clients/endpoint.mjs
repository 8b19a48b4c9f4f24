// endpoint.mjs MODE [URL] - an endpoint that is not bitnetd, on a free port,
// which it prints.
//
//   llama      llama-server's own interface, over a bitnetd at URL
//   text       completions without any log-probabilities, over a bitnetd at URL
//   nothing    404 to everything
//   garbage    no JSON
//   lie        log-probabilities above 0
//   beyond     token ids beyond the vocabulary
//   huge       an answer without end
//   head       a head without end
//   hang       no answer
//   moved      a redirect to URL
import http from 'node:http';

const [mode, url] = process.argv.slice(2);
const json = (res, body) => res.end(JSON.stringify(body));

async function ask(path, body) {
    const r = await fetch(url + path, { method: 'POST', body: JSON.stringify(body) });
    return r.json();
}

async function text(req, body, res) {
    const { choices } = await ask('/v1/completions', { ...body, logprobs: null });
    json(res, { choices });
}

// Ids of the continuation: the tokens of prompt and text, less the prompt's.
async function llama(req, body, res) {
    const n_prompt = body.prompt.length;
    const { choices: [c] } = await ask('/v1/completions', {
        prompt: body.prompt, max_tokens: body.n_predict, temperature: 0, logprobs: body.n_probs });
    const one = async (token, logprob) => {
        const raw = /^bytes:/.test(token);
        const { tokens } = raw ? { tokens: [] } : await ask('/tokenize', { content: token });
        return { token, logprob, ...(tokens.length === 1 ? { id: tokens[0] } : {}) };
    };
    const probs = [];
    for (const [i, token] of c.logprobs.tokens.entries()) {
        const top = Object.entries(c.logprobs.top_logprobs[i]);
        probs.push({ ...await one(token, c.logprobs.token_logprobs[i]),
                     top_logprobs: await Promise.all(top.map(([t, p]) => one(t, p))) });
    }
    json(res, { content: c.text, tokens: probs.map((p) => p.id), completion_probabilities: probs,
                tokens_evaluated: n_prompt,
                timings: { prompt_per_second: 1234.5, predicted_per_second: 67.5 } });
}

const lists = (body, p) => ({ choices: [{ text: 'x', logprobs: {
    tokens: ['x'], token_logprobs: [p], top_logprobs: [{ x: p }], text_offset: [0] } }] });

function answer(req, body, res) {
    const at = req.url;
    switch (mode) {
    case 'llama':
        if (at === '/completion')
            return llama(req, body, res);
        if (at === '/tokenize')
            return ask(at, body).then((r) => json(res, r));
        break;
    case 'text':
        if (at === '/v1/completions')
            return text(req, body, res);
        break;
    case 'garbage':
        return res.end('<html>this is a page</html>');
    case 'lie':
        if (at === '/v1/completions')
            return json(res, lists(body, 0.5));
        break;
    case 'beyond':
        if (at === '/completion')
            return json(res, { content: 'x', tokens: [1 << 30] });
        break;
    case 'huge': {
        const more = () => { while (res.write('['.repeat(65536))); };
        res.on('drain', more);
        return more();
    }
    case 'head':
        req.socket.on('error', () => {});
        for (let i = 0; i < 40; i++)
            req.socket.write((i ? '' : 'HTTP/1.1 200 OK\r\n') + `X-${i}: ${'y'.repeat(10000)}\r\n`);
        return undefined;
    case 'hang':
        return undefined;
    case 'moved':
        res.writeHead(302, { Location: url + at });
        return res.end();
    }
    res.writeHead(404);
    return json(res, { error: 'no such path' });
}

const server = http.createServer((req, res) => {
    const parts = [];
    req.on('data', (d) => parts.push(d));
    req.on('end', () => answer(req, parts.length ? JSON.parse(Buffer.concat(parts)) : {}, res));
    res.on('error', () => {});
});
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
