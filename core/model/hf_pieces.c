/* hf_pieces.c - tokenizer.model, a SentencePiece file: a protocol buffer.
 *
 *   1  pieces            1 text, 2 score (float), 3 type, numbered as in GGUF
 *   2  trainer_spec      3 model_type, 40..43 ids of unk, bos, eos, pad
 *   3  normalizer_spec   2 charsmap, 3 add_dummy_prefix,
 *                        4 remove_extra_whitespaces, 5 escape_whitespaces
 *
 * Other fields are skipped. Nothing is used before its length was checked. */
#include <stdlib.h>
#include <string.h>

#include "core/base/f16.h"
#include "core/model/hf_parts.h"

#define MODEL "tokenizer.model"
#define CONFIG "tokenizer_config.json"

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };    /* wire types */
enum { MODEL_BPE = 2 };

struct field {
    uint64_t number, value;       /* value: of numbers                         */
    unsigned wire;
    struct str bytes;
};

static bool take_varint(struct str *s, uint64_t *v)
{
    *v = 0;
    for (unsigned shift = 0; shift < 64 && s->n; shift += 7) {
        const uint8_t b = (uint8_t)*s->p;
        s->p++;
        s->n--;
        *v |= (uint64_t)(b & 127) << shift;
        if (b < 128)
            return true;
    }
    return false;
}

/* Takes a field off the front. 1; 0 at the end; -1 when it is broken. */
static int take(struct str *s, struct field *f)
{
    uint64_t key, n = 0;
    if (!s->n)
        return 0;
    if (!take_varint(s, &key))
        return -1;
    *f = (struct field){ .number = key >> 3, .wire = (unsigned)(key & 7) };
    if (f->wire == VARINT)
        return take_varint(s, &f->value) ? 1 : -1;
    if (f->wire == BYTES ? !take_varint(s, &n) : f->wire != FIXED32 && f->wire != FIXED64)
        return -1;
    n = f->wire == FIXED32 ? 4 : f->wire == FIXED64 ? 8 : n;
    if (n > s->n)
        return -1;
    f->bytes = (struct str){ s->p, (size_t)n };
    s->p += n;
    s->n -= (size_t)n;
    return 1;
}

static int broken(const struct hf_reading *r, const char *what)
{
    return hf_fail(r, ERR_DATA, MODEL, "%s is broken, expected a SentencePiece file", what);
}

/* ------------------------------------------------------------------- specs */

struct specs {
    uint32_t n_piece;
    uint64_t model_type;
    int32_t id[4];                /* unk, bos, eos, pad                        */
    bool charsmap, prefix, trims, escapes;
};

static int read_trainer(const struct hf_reading *r, struct str s, struct specs *out)
{
    struct field f;
    int rc;
    while ((rc = take(&s, &f)) == 1)
        if (f.wire == VARINT && f.number == 3)
            out->model_type = f.value;
        else if (f.wire == VARINT && f.number >= 40 && f.number <= 43)
            out->id[f.number - 40] = (int32_t)(uint32_t)f.value;
    return rc ? broken(r, "trainer_spec") : 0;
}

static int read_normalizer(const struct hf_reading *r, struct str s, struct specs *out)
{
    struct field f;
    int rc;
    while ((rc = take(&s, &f)) == 1)
        if (f.wire == BYTES && f.number == 2)
            out->charsmap = f.bytes.n != 0;
        else if (f.wire == VARINT && f.number == 3)
            out->prefix = f.value != 0;
        else if (f.wire == VARINT && f.number == 4)
            out->trims = f.value != 0;
        else if (f.wire == VARINT && f.number == 5)
            out->escapes = f.value != 0;
    return rc ? broken(r, "normalizer_spec") : 0;
}

static int read_specs(const struct hf_reading *r, struct specs *out)
{
    struct str s = r->file->pieces;
    struct field f;
    int rc, bad = 0;
    *out = (struct specs){ .model_type = 1, .id = { 0, 1, 2, -1 }, .prefix = true, .trims = true,
                           .escapes = true };             /* the format's defaults */
    while (!bad && (rc = take(&s, &f)) == 1) {
        if (f.wire != BYTES)
            continue;
        out->n_piece += f.number == 1;
        if (f.number == 2)
            bad = read_trainer(r, f.bytes, out);
        else if (f.number == 3)
            bad = read_normalizer(r, f.bytes, out);
    }
    return bad ? bad : rc ? broken(r, "the file") : 0;
}

static int check_specs(const struct hf_reading *r, const struct specs *s)
{
    if (s->model_type != MODEL_BPE)
        return hf_fail(r, ERR_UNSUPPORTED, MODEL, "trainer_spec.model_type: %llu is not known "
                       "here; known is %d, BPE", (unsigned long long)s->model_type, MODEL_BPE);
    if (s->charsmap || s->trims || !s->escapes)
        return hf_fail(r, ERR_UNSUPPORTED, MODEL, "normalizer_spec: %s, expected that text stays "
                       "what it is", s->charsmap ? "characters are rewritten"
                                     : s->trims  ? "extra spaces are removed"
                                                 : "spaces are not spelled as U+2581");
    if (!s->n_piece || s->n_piece > VOCAB_MAX_TOKENS)
        return hf_fail(r, ERR_LIMIT, MODEL, "%u pieces, expected 1 to %d", s->n_piece,
                       VOCAB_MAX_TOKENS);
    return 0;
}

/* ------------------------------------------------------------------ pieces */

static int read_piece(struct hf_reading *r, struct str s, uint32_t id)
{
    struct field f;
    struct str text = { "", 0 };
    uint64_t type = TOKEN_NORMAL;
    float score = 0;
    int rc;
    while ((rc = take(&s, &f)) == 1)
        if (f.number == 1 && f.wire == BYTES) {
            text = f.bytes;
        } else if (f.number == 2 && f.wire == FIXED32) {
            uint32_t bits;
            memcpy(&bits, f.bytes.p, sizeof bits);
            score = f32_from_bits(bits);
        } else if (f.number == 3 && f.wire == VARINT) {
            type = f.value;
        }
    if (rc || type < TOKEN_NORMAL || type > TOKEN_BYTE || score != score)
        return hf_fail(r, ERR_DATA, MODEL, "piece %u is broken, expected a text, a score and a "
                       "type of 1 to %d", id, TOKEN_BYTE);
    rc = hf_vocab_put(r, MODEL, id, text, (uint8_t)type);
    if (rc == 0)
        r->token[id].score = score;
    return rc;
}

static int read_pieces(struct hf_reading *r, uint32_t n_piece)
{
    struct str s = r->file->pieces;
    struct field f;
    uint32_t id = 0;
    int rc = 0;
    if (r->n == 0)
        r->n = n_piece;
    r->token = calloc(r->n, sizeof *r->token);
    if (!r->token)
        return hf_fail(r, ERR_NOMEM, MODEL, "no memory for %u tokens", r->n);
    while (!rc && take(&s, &f) == 1)
        if (f.number == 1 && f.wire == BYTES)
            rc = read_piece(r, f.bytes, id++);
    return rc;
}

/* ---------------------------------------------------------- added tokens */

/* tokenizer_config.json knows what was added: "32000": { "content", "special" } */
static int read_added(struct hf_reading *r, uint32_t n_piece)
{
    const json_t *added;
    const char *key;
    json_t *j;
    int rc = hf_member(r, CONFIG, r->config, "added_tokens_decoder", JSON_OBJECT, &added);
    json_object_foreach((json_t *)(uintptr_t)added, key, j) {
        char *end;
        const unsigned long id = strtoul(key, &end, 10);
        const struct str text = hf_text(j, "content");
        if (*key < '0' || *key > '9' || *end || id >= VOCAB_MAX_TOKENS || !text.p)
            return hf_fail(r, ERR_DATA, CONFIG, "added_tokens_decoder: \"%s\": expected an id, and "
                           "an object with a text \"content\"",
                           hf_quote(str_of(key)).text);
        if (id < n_piece)
            continue;             /* the pieces say it with a score */
        rc = hf_vocab_put(r, CONFIG, (json_int_t)id, text,
                          hf_flag(j, "special", false) ? TOKEN_CONTROL : TOKEN_USER);
        if (rc)
            return rc;
        r->token[id].score = HF_ADDED_SCORE;
    }
    return rc;
}

static int32_t id_or_none(const struct hf_reading *r, int32_t id)
{
    return id >= 0 && (uint32_t)id < r->n ? id : -1;
}

int hf_pieces_read(struct hf_reading *r)
{
    struct specs s;
    int rc = read_specs(r, &s);
    if (rc == 0)
        rc = check_specs(r, &s);
    if (rc == 0)
        rc = read_pieces(r, s.n_piece);
    if (rc == 0)
        rc = read_added(r, s.n_piece);
    if (rc)
        return rc;
    r->spm = true;
    r->add_space = s.prefix;
    strcpy(r->pre, "default");
    r->unk = id_or_none(r, s.id[0]);
    r->bos = id_or_none(r, s.id[1]);
    r->pad = id_or_none(r, s.id[3]);
    if (id_or_none(r, s.id[2]) >= 0)
        r->end[r->n_end++] = s.id[2];
    return 0;
}
