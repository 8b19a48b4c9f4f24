// endpoint.mjs MODE [URL] - an endpoint that is not bitnetd, on a free port,
// which it prints.
//
//   llama      llama-server's interface, over a bitnetd at URL: completions
//              without echo, and with objects for log-probabilities
//   native     only its own /completion, with ids
//   older      the same as it was before, without ids
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

// A token's ids are those of its text, where that is one token.
async function items(prompt, n, n_top) {
    const { choices: [c] } = await ask('/v1/completions', {
        prompt, max_tokens: n, temperature: 0, logprobs: n_top });
    const one = async (token, logprob) => {
        const raw = /^bytes:/.test(token);
        const { tokens } = raw ? { tokens: [] } : await ask('/tokenize', { content: token });
        return { token, logprob, ...(tokens.length === 1 ? { id: tokens[0] } : {}) };
    };
    const list = [];
    for (const [i, token] of c.logprobs.tokens.entries()) {
        const top = Object.entries(c.logprobs.top_logprobs[i]);
        list.push({ ...await one(token, c.logprobs.token_logprobs[i]),
                    top_logprobs: await Promise.all(top.map(([t, p]) => one(t, p))) });
    }
    return { text: c.text, list };
}

const impossible = { id: 5, token: '!', logprob: -3.4028234663852886e38 };

async function llama(body, res) {
    if (body.echo) {
        res.writeHead(500);
        return json(res, { error: 'Only no echo is supported' });
    }
    const { text: t, list } = await items(body.prompt, body.max_tokens, body.logprobs);
    list[0].top_logprobs.push(impossible);
    return json(res, { choices: [{ text: t, logprobs: { content: list } }] });
}

async function native(body, res) {
    const { text: t, list } = await items(body.prompt, body.n_predict, body.n_probs);
    const older = list.map((p) => ({ content: p.token, probs: p.top_logprobs.map(
        (q) => ({ tok_str: q.token, prob: Math.exp(q.logprob) })) }));
    json(res, { content: t, completion_probabilities: mode === 'older' ? older : list,
                ...(mode === 'older' ? {} : { tokens: list.map((p) => p.id) }),
                timings: { prompt_per_second: 1234.5, predicted_per_second: 67.5 } });
}

const lists = (body, p) => ({ choices: [{ text: 'x', logprobs: {
    tokens: ['x'], token_logprobs: [p], top_logprobs: [{ x: p }], text_offset: [0] } }] });

function answer(req, body, res) {
    const at = req.url;
    switch (mode) {
    case 'llama':
        if (at === '/v1/completions')
            return llama(body, res);
        // fall through
    case 'native':
    case 'older':
        if (at === '/completion' && mode !== 'llama')
            return native(body, res);
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
